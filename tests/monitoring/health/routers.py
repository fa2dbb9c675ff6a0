"""Routers of databases for tests."""

from __future__ import annotations

from typing import Any


class WithoutPerfkit:
    """Keeps perfkit's tables out of every database."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "perfkit" else None
