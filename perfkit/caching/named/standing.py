"""Where a thread stands: in which language, time zone and databases, and whether it sees what all others see.

As long as nothing has changed it is the same object, which takes less to find out than what it is made of.
"""

from __future__ import annotations

import weakref
from threading import local
from typing import Any, NamedTuple

from django.core.signals import setting_changed
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.caching.databases import connection_of_thread, settings_of
from perfkit.caching.named.contexts import Context, active_objects, current_context
from perfkit.caching.named.databases import Databases, FoundConnection, current_databases, found_connections
from perfkit.caching.named.trust import is_at_rest
from perfkit.caching.visibility import Visibility
from perfkit.caching.writes import tracker_of


class Standing:
    """One way to stand; it is told from others by being this object."""

    __slots__ = ("context", "databases")

    def __init__(self, context: Context, databases: Databases) -> None:
        self.context = context
        self.databases = databases


class _Connection(NamedTuple):
    """A connection, and what must be as it was; `visibility` is None where its writes are not watched."""

    alias: str
    connection: weakref.ref[BaseDatabaseWrapper]
    driver: Any
    settings: tuple[Any, ...]
    visibility: Visibility | None


class _Seen(local):
    """How this thread stood when somebody asked last."""

    state: tuple[Standing, Any, tuple[_Connection, ...]] | None = None


_seen = _Seen()


def current_standing() -> Standing | None:
    """Return how this thread stands; None where it may see what others do not."""
    state = _seen.state
    if state is None:
        return _stood_anew()
    standing, active, found = state
    now = active_objects()
    if (
        now is None
        or now[0] is not active[0]
        or now[1] is not active[1]
        or len(found) != len(connections.settings)
    ):
        return _stood_anew()
    for alias, known, driver, settings, visibility in found:
        connection = connection_of_thread(alias)
        if connection is None or connection is not known() or connection.connection is not driver:
            return _stood_anew()
        if driver is None and settings_of(connection) != settings:
            return _stood_anew()
        if visibility is not None and not visibility.is_common:
            return None
    return standing


def _stood_anew() -> Standing | None:
    _seen.state = None
    context, active, found = current_context(), active_objects(), found_connections()
    if active is None or found is None or not is_at_rest():
        return None
    standing = Standing(context, current_databases())
    _seen.state = standing, active, tuple([_watched(each) for each in found])
    return standing


def _watched(found: FoundConnection) -> _Connection:
    connection = found.connection()
    tracker = None if connection is None else tracker_of(connection)
    return _Connection(*found, None if tracker is None else tracker.visibility)


def _settings_changed(**_: object) -> None:
    """Find out anew in all threads, as `contexts` does."""
    global _seen  # noqa: PLW0603  # tests alone change settings
    _seen = _Seen()


setting_changed.connect(_settings_changed, dispatch_uid="perfkit.caching.named.standing")
