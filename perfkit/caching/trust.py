"""Whether the cache may be asked now, and whether what the database says may be stored."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Final

from django.db import DEFAULT_DB_ALIAS, Error, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from perfkit.caching.bypass import Bypass
from perfkit.caching.coherence import breaker, outbox
from perfkit.caching.databases import is_watchable
from perfkit.caching.outbox import LookUnderWayError, OutboxMissingError
from perfkit.caching.places import Place
from perfkit.caching.relations import unnamed_relations
from perfkit.caching.scope import recent_tags
from perfkit.caching.store import Store, current_store
from perfkit.caching.tags import database_of, table_of
from perfkit.caching.telling import tell_read
from perfkit.caching.writes import WriteTracker, tracker_of
from perfkit.conf import options

logger: Final = logging.getLogger("perfkit.caching")


def usable_store(model: type[Model], connection: BaseDatabaseWrapper, tags: tuple[str, ...]) -> Store:
    """Return the store, if a read of `model` on `connection` may be answered from it or fill it now.

    Raises:
        Bypass: It may not.
        StoreError: The server does not answer.
    """
    if not options.CACHE_ENABLED:
        raise Bypass("disabled")
    store = current_store()
    if store is None:
        raise Bypass("disabled")
    if (connection.alias != DEFAULT_DB_ALIAS or router.routers) and router.db_for_write(
        model
    ) != connection.alias:
        raise Bypass("replica")
    tracker = tracker_of(connection)
    if tracker is None and not is_watchable(connection):
        raise Bypass("driver")
    _require_tables(connection, tags)
    in_transaction = tracker is not None and sees_open_transaction(tracker, tags)
    if store.is_shared:
        require_answer(store)
        drain_outbox(store, connection, tags, in_transaction=in_transaction)
    return store


def late_tags(connection: BaseDatabaseWrapper, tags: Collection[str]) -> list[str]:
    """Return tags of other late reads whose tokens a scope may ask for along with those of `tags`.

    The scope shows what it knows without looking again, so they must be such that the look which was for `tags`
    was one for them too: of the same database, and of no table that somebody writes in silence.
    """
    databases = {database_of(tag) for tag in tags}
    return [
        tag
        for tag in recent_tags()
        if tag not in tags
        and database_of(tag) in databases
        and not outbox.distrusts(connection.alias, (tag,))
    ]


def is_at_rest(connection: BaseDatabaseWrapper) -> bool:
    """Say whether a read on `connection` may be shown what its scope knows to hold, whatever else is to be asked.

    So it is with the usual database, outside of transactions, in a session like all others.
    """
    if connection.alias != DEFAULT_DB_ALIAS or router.routers:
        return False
    tracker = tracker_of(connection)
    if tracker is None:
        return False
    return not tracker.visibility.in_transaction and not tracker.visibility.has_own_session


def _require_tables(connection: BaseDatabaseWrapper, tags: Collection[str]) -> None:
    """Raise Bypass where what is read is a view, and nobody has said which tables stand behind it."""
    try:
        unnamed = unnamed_relations(connection)
    except Error as error:
        raise Bypass("catalogue unreadable") from error  # the database will tell the caller itself
    for tag in tags if unnamed else ():
        name = table_of(tag)
        if name in unnamed:
            warn_once(
                f"{name} is a {unnamed[name]}, and what changes its rows is not known: "
                "name that in its CachedManager(tables=[...])."
            )
            raise Bypass(unnamed[name])


def sees_open_transaction(tracker: WriteTracker, tags: tuple[str, ...]) -> bool:
    """Say whether the connection is inside a transaction, in which it may yet see what all others see.

    Raises:
        Bypass: It may not.
    """
    if tracker.visibility.has_own_session:
        raise Bypass("session setting")
    if not tracker.visibility.in_transaction:
        return False
    if not tracker.pending.isdisjoint(tags):
        raise Bypass("written in this transaction")
    if tracker.visibility.keeps_snapshot:
        raise Bypass("snapshot")
    return True


def require_answer(store: Store) -> None:
    """Ask the server whether it takes what it is told, where the last one who spoke to it got no answer.

    To be called once in a read: while there is none, one caller in a while may ask.

    Raises:
        Bypass: It does not answer, and others are to ask.
        StoreError: It does not answer.
    """
    if not breaker.allows():
        raise Bypass("outage")
    if breaker.is_open:
        store.probe()


def drain_outbox(
    store: Store,
    connection: BaseDatabaseWrapper,
    tags: tuple[str, ...],
    *,
    in_transaction: bool,
    early: bool = False,
) -> None:
    """Tell the store what waits in the outbox of a database, if the last look is long enough ago.

    Args:
        early: See `Outbox.drain`.

    Raises:
        Bypass: What waits cannot be told, or somebody writes in silence what `tags` are of.
        StoreError: The server does not answer.
    """
    try:
        outbox.drain(connection, store, in_transaction=in_transaction, early=early)
    except OutboxMissingError as error:
        warn_once(str(error))
        raise Bypass("outbox missing") from error
    except LookUnderWayError as error:
        raise Bypass("outbox") from error
    except Error as error:
        raise Bypass("outbox unreadable") from error  # the database will tell the caller itself
    if outbox.distrusts(connection.alias, tags):
        raise Bypass("written in silence")


def is_outbox_due(alias: str) -> bool:
    """Say whether the next cached read is to call `drain_outbox`."""
    return outbox.is_due(alias)


def has_distrusted(alias: str, tags: Collection[str]) -> bool:
    """Say whether the last look into the outbox of a database has found that `tags` are written in silence."""
    return outbox.distrusts(alias, tags)


def has_own_session(connection: BaseDatabaseWrapper) -> bool:
    """Say whether this connection may see other rows or values than others of its alias do."""
    tracker = tracker_of(connection)
    return tracker is not None and tracker.visibility.has_own_session


def has_written(connection: BaseDatabaseWrapper, tags: Collection[str]) -> bool:
    """Say whether the open transaction has written what an answer under one of `tags` depends on."""
    tracker = tracker_of(connection)
    return tracker is not None and tracker.visibility.in_transaction and not tracker.pending.isdisjoint(tags)


def is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Say whether others may wait for locks of this reader, who must not wait for them in turn."""
    tracker = tracker_of(connection)
    return tracker is not None and tracker.visibility.in_transaction


def require_committed_view(connection: BaseDatabaseWrapper) -> None:
    """Raise Bypass where the open transaction sees writes of its own, which may yet be rolled back."""
    tracker = tracker_of(connection)
    if tracker is not None and tracker.has_written:
        raise Bypass("transaction has written")


def tell_bypass(model: type[Model], reason: str, place: Place | None = None, *, begun: float = 0.0) -> None:
    """Tell that a read of `model` goes past the cache, or is not stored, and why.

    Args:
        place: Where it was looked for, or would be kept.
        begun: What `telling.read_begins` has returned.
    """
    if place is None:
        tell_read(model, "bypass", reason)
    else:
        tell_read(model, "bypass", reason, key=place.key, tags=place.tags, begun=begun)


_warned: Final[set[str]] = set()


def warn_once(problem: str) -> None:
    """Log why cached reads go to the database; each problem once in the life of the process."""
    if problem not in _warned:
        _warned.add(problem)
        logger.warning("Cached reads go to the database: %s", problem)
