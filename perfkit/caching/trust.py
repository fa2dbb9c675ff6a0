"""Whether the cache may be asked now, and whether what the database says may be stored."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Final

from django.db import Error, connections, router
from django.db.models import Model

from perfkit.caching.coherence import breaker, outbox
from perfkit.caching.databases import is_watchable
from perfkit.caching.outbox import LookUnderWayError, OutboxMissingError
from perfkit.caching.store import Store, current_store
from perfkit.caching.writes import tracker_of
from perfkit.conf import options
from perfkit.signals import cache_read

logger: Final = logging.getLogger("perfkit.caching")

PROBE: Final = "p:probe"
"""A tag that nothing depends on: a full server, or a replica, answers reads and yet can be told nothing."""


class Bypass(Exception):  # noqa: N818  # an answer, not an error: it never leaves this room
    """The read goes to the database and stores nothing; the argument is the reason."""


def usable_store(model: type[Model], alias: str, tags: tuple[str, ...]) -> Store:
    """Return the store, if a read of `model` from `alias` may be answered from it or fill it now.

    Raises:
        Bypass: It may not.
        StoreError: The server does not answer.
    """
    if not options.CACHE_ENABLED:
        raise Bypass("disabled")
    store = current_store()
    if store is None:
        raise Bypass("disabled")
    if router.db_for_write(model) != alias:
        raise Bypass("replica")
    if not is_watchable(connections[alias]):
        raise Bypass("driver")
    tracker = tracker_of(connections[alias])
    if has_own_session(alias):
        raise Bypass("session setting")
    in_transaction = tracker is not None and tracker.in_transaction
    if tracker is not None and in_transaction:
        if not tracker.pending.isdisjoint(tags):
            raise Bypass("written in this transaction")
        if tracker.keeps_snapshot:
            raise Bypass("snapshot")
    if store.is_shared:
        _drain_outbox(store, alias, in_transaction=in_transaction)
    return store


def _drain_outbox(store: Store, alias: str, *, in_transaction: bool) -> None:
    if not breaker.allows():
        raise Bypass("outage")
    if breaker.is_open:
        store.void((PROBE,))
    try:
        outbox.drain(connections[alias], store, in_transaction=in_transaction)
    except OutboxMissingError as error:
        warn_once(str(error))
        raise Bypass("outbox missing") from error
    except LookUnderWayError as error:
        raise Bypass("outbox") from error
    except Error as error:
        raise Bypass("outbox unreadable") from error  # the database will tell the caller itself


def has_own_session(alias: str) -> bool:
    """Say whether this connection may see other rows or values than others of its alias do."""
    tracker = tracker_of(connections[alias])
    return tracker is not None and tracker.has_own_session


def has_written(alias: str, tags: Collection[str]) -> bool:
    """Say whether the open transaction has written what an answer under one of `tags` depends on."""
    tracker = tracker_of(connections[alias])
    return tracker is not None and tracker.in_transaction and not tracker.pending.isdisjoint(tags)


def is_in_transaction(alias: str) -> bool:
    """Say whether others may wait for locks of this reader, who must not wait for them in turn."""
    tracker = tracker_of(connections[alias])
    return tracker is not None and tracker.in_transaction


def require_committed_view(alias: str) -> None:
    """Raise Bypass where the open transaction sees writes of its own, which may yet be rolled back."""
    tracker = tracker_of(connections[alias])
    if tracker is not None and tracker.has_written:
        raise Bypass("transaction has written")


def tell_bypass(model: type[Model], reason: str) -> None:
    """Tell that a read of `model` goes past the cache, or is not stored, and why."""
    cache_read.send(sender=model, outcome="bypass", reason=reason)


_warned: Final[set[str]] = set()


def warn_once(problem: str) -> None:
    """Log why cached reads go to the database; each problem once in the life of the process."""
    if problem not in _warned:
        _warned.add(problem)
        logger.warning("Cached reads go to the database: %s", problem)
