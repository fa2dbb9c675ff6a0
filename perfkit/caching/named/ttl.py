"""Usual times to live."""

from __future__ import annotations

from typing import Final


class TTL:
    """Seconds that an answer lives, by how often what it is about is usually looked at anew."""

    SHORT: Final = 5 * 60
    MEDIUM: Final = 30 * 60
    LONG: Final = 2 * 3600
    VERY_LONG: Final = 24 * 3600
