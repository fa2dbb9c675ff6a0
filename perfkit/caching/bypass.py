"""Why a read goes past the cache, and the telling of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final


class Bypass(Exception):  # noqa: N818  # an answer, not an error: it never leaves this room
    """The read goes to the database and stores nothing; the argument is the reason."""


class UntrackedTableBypass(Bypass):
    """It looks into tables whose writes nobody watches; the text says how to have them watched."""

    reason: Final = "untracked table"

    def __init__(self, tables: Sequence[str]) -> None:
        names = ", ".join(tables)
        super().__init__(
            f"perfkit does not watch what is written to {names}: "
            "give its model a CachedManager, or name it in PERFKIT['CACHE_MODELS']."
        )
