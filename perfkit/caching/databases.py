"""Which database a connection leads to, as keys and tags name it, and whether its writes can be watched."""

from __future__ import annotations

import hashlib
import os
import secrets
from operator import itemgetter
from threading import local
from typing import Any, Final, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

ATTRIBUTE: Final = "_perfkit_scopes"
NAME: Final = 3
"""Where the database's name stands among the settings."""

_START: Final = secrets.token_hex(8)
"""Of this process, and of those that it forks, whose numbers differ."""


def _storage_of(handler: Any) -> local | None:
    """Return where asgiref keeps a thread's connections, None where it keeps them otherwise.

    To look there takes a twentieth of the time of asking Django.
    """
    storage = vars(handler).get("_storage")
    return storage if type(storage) is local else None


_of_threads: Final = _storage_of(connections._connections)  # type: ignore[attr-defined]  # noqa: SLF001  # no public name


def connection_of_thread(alias: str) -> BaseDatabaseWrapper | None:
    """Return the connection that this thread has under an alias, None where it has not asked for one."""
    if _of_threads is None:
        return connections[alias]
    connection: BaseDatabaseWrapper | None = getattr(_of_threads, alias, None)
    return connection


def connections_of_thread() -> list[BaseDatabaseWrapper]:
    """Return the connections that this thread has asked for, and those that another one has handed over to it."""
    if _of_threads is None:
        return list(connections.all(initialized_only=True))
    return list(vars(_of_threads).values())


def is_watchable(connection: BaseDatabaseWrapper) -> bool:
    """Say whether perfkit sees the transactions of this driver: psycopg 3, or SQLite."""
    if connection.vendor == "postgresql":
        return bool(connection.Database.__name__ == "psycopg")  # type: ignore[attr-defined]  # missing in the stubs
    return connection.vendor == "sqlite"


def tag_scope(connection: BaseDatabaseWrapper) -> str:
    """Return what names the database in tags: the same for every alias and route that leads to it.

    Two databases of one name on different servers share it, and invalidate each other: that is only slow.
    """
    return _scopes(connection).tags


def entry_scope(connection: BaseDatabaseWrapper) -> str:
    """Return what names the database in the keys of entries: never the same for two databases.

    Nor for two ways into one that may show different rows or values: another user, role, zone or search path.
    """
    return _scopes(connection).entries


class _Scopes(NamedTuple):
    """What names the database of a connection, as long as its settings are these.

    Args:
        driver: The driver's connection that was open then; as long as it is, its database is this one.
            None where a fork would make it another.
    """

    settings: tuple[Any, ...]
    tags: str
    entries: str
    driver: Any


_settings: Final = itemgetter("ENGINE", "HOST", "PORT", "NAME", "USER", "TIME_ZONE")


def _scopes(connection: BaseDatabaseWrapper) -> _Scopes:
    """Return the names, made anew where settings have changed, as tests and tenants do."""
    known: _Scopes | None = getattr(connection, ATTRIBUTE, None)
    driver = connection.connection
    if known is not None and driver is not None and known.driver is driver:
        return known
    process = f"{_START} {os.getpid()}" if is_of_process(connection) else None
    settings = (*settings_of(connection), process)
    if known is None or known.settings != settings:
        parts = ["" if part is None else str(part) for part in settings]
        known = _Scopes(settings, _digest(parts[NAME]), _digest(*parts), None)
        setattr(connection, ATTRIBUTE, known)
    if connection.vendor == "postgresql":
        setattr(connection, ATTRIBUTE, known._replace(driver=driver))
    return known


def settings_of(connection: BaseDatabaseWrapper) -> tuple[Any, ...]:
    """Return the settings that say which database it is; within a process, while they are the same, it is."""
    settings_dict = connection.settings_dict
    get = settings_dict["OPTIONS"].get
    return (*_settings(settings_dict), get("options"), get("service"), get("assume_role"))


def is_of_process(connection: BaseDatabaseWrapper) -> bool:
    """Say whether a database is this process's alone, though others have one of the same name.

    So it is with those in memory, as tests have them.
    """
    return connection.vendor == "sqlite" and connection.is_in_memory_db()  # type: ignore[attr-defined]  # SQLite's own


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
