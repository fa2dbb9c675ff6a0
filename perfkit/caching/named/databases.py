"""All databases of the project at once, as keys and tags name them; a named value may be made from any of them."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from threading import local
from typing import Any, Final, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.caching.databases import connection_of_thread, entry_scope, is_of_process, settings_of, tag_scope


class Databases(NamedTuple):
    """How the connections of a thread are named.

    Args:
        scopes: Names all of them, and the ways into them.
        aliases: An alias for each name that tags have for a database; the default one before others.
        default: The name that tags have for the default one.
    """

    scopes: str
    aliases: Mapping[str, str]
    default: str


class FoundConnection(NamedTuple):
    """A connection of a thread, as it was when the names were found.

    Args:
        driver: The driver's connection, whose database does not change; None while there is none.
        settings: What the names were made of. Looked at again while there is no driver's connection.
    """

    alias: str
    connection: weakref.ref[BaseDatabaseWrapper]
    driver: Any
    settings: tuple[Any, ...]


class _Known(local):
    """What was found last in this thread.

    Attributes:
        pid: The process that it holds in; None where it holds in its forks too.
    """

    databases: Databases | None = None
    found: tuple[FoundConnection, ...] = ()
    pid: int | None = None


_known: Final = _Known()


def current_databases() -> Databases:
    """Return how the connections of this thread are named now."""
    databases, found = _known.databases, _known.found
    if databases is None or len(found) != len(connections.settings):
        return _found_anew()
    for alias, known, driver, settings in found:
        connection = connection_of_thread(alias)
        if connection is None or connection is not known() or connection.connection is not driver:
            return _found_anew()
        if driver is None and settings_of(connection) != settings:
            return _found_anew()
    if _known.pid is not None and _known.pid != os.getpid():
        return _found_anew()
    return databases


def found_connections() -> tuple[FoundConnection, ...] | None:
    """Return what `current_databases` has found in this thread; None where it holds in this process alone."""
    return _known.found if _known.pid is None else None


def _found_anew() -> Databases:
    every = [connections[alias] for alias in connections]
    found = tuple(
        FoundConnection(each.alias, weakref.ref(each), each.connection, settings_of(each)) for each in every
    )
    scopes = ",".join([entry_scope(connection) for connection in every])
    aliases = {tag_scope(connection): connection.alias for connection in every}
    default = tag_scope(connections[DEFAULT_DB_ALIAS])
    aliases[default] = DEFAULT_DB_ALIAS
    _known.databases, _known.found = Databases(scopes, aliases, default), found
    _known.pid = os.getpid() if any(map(is_of_process, every)) else None
    return _known.databases
