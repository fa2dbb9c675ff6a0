"""Which database a connection leads to, as keys and tags name it, and whether its writes can be watched."""

from __future__ import annotations

import hashlib
import os
import secrets
from functools import lru_cache
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

_START: Final = secrets.token_hex(8)
"""Of this process, and of those that it forks, whose numbers differ."""


def is_watchable(connection: BaseDatabaseWrapper) -> bool:
    """Say whether perfkit sees the transactions of this driver: psycopg 3, or SQLite."""
    if connection.vendor == "postgresql":
        return bool(connection.Database.__name__ == "psycopg")  # type: ignore[attr-defined]  # missing in the stubs
    return connection.vendor == "sqlite"


def tag_scope(connection: BaseDatabaseWrapper) -> str:
    """Return what names the database in tags: the same for every alias and route that leads to it.

    Two databases of one name on different servers share it, and invalidate each other: that is only slow.
    """
    return _digest(str(connection.settings_dict["NAME"]))


def entry_scope(connection: BaseDatabaseWrapper) -> str:
    """Return what names the database in the keys of entries: never the same for two databases.

    Nor for two ways into one that may show different rows or values: another user, role, zone or search path.
    """
    settings = connection.settings_dict
    options = settings["OPTIONS"]
    return _digest(
        *(str(settings[part]) for part in ("ENGINE", "HOST", "PORT", "NAME", "USER", "TIME_ZONE")),
        *(str(options.get(part, "")) for part in ("options", "service", "assume_role")),
        f"{_START} {os.getpid()}" if _is_in_memory(connection) else "",
    )


def _is_in_memory(connection: BaseDatabaseWrapper) -> bool:
    """Say whether the database is this process's alone, though others have one of the same name, as tests do."""
    return connection.vendor == "sqlite" and bool(connection.is_in_memory_db())  # type: ignore[attr-defined]  # SQLite's own


@lru_cache(maxsize=1024)
def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
