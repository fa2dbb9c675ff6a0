"""One cached read by primary key: from the manager's call to the server and back.

# Note [Why a fill cannot be stale]
The tokens are taken before the row is read and stored inside the entry.
A write that commits later changes a token, so that the entry no longer equals what the server holds:
it is dead, even if it arrives after the write is done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from django.db import Error, connections, router
from django.db.models import Model, QuerySet

from perfkit.caching import tokens
from perfkit.caching.codec import codec_for
from perfkit.caching.coherence import breaker, outbox
from perfkit.caching.databases import entry_scope, is_watchable, tag_scope
from perfkit.caching.outbox import LookUnderWayError, OutboxMissingError
from perfkit.caching.registry import TrackedModel
from perfkit.caching.store import Store, StoreError, current_store
from perfkit.caching.tags import PrimaryKey, entry_key, row_tag, table_tag
from perfkit.caching.writes import tracker_of
from perfkit.conf import options
from perfkit.signals import cache_read

logger: Final = logging.getLogger("perfkit.caching")

PROBE: Final = "p:probe"
"""A tag that nothing depends on: a full server, or a replica, answers reads and yet can be told nothing."""

Row = tuple[Any, ...]


class Bypass(Exception):  # noqa: N818  # an answer, not an error: it never leaves this module
    """The read goes to the database and stores nothing; the argument is the reason."""


class Place(NamedTuple):
    """Where a row is in the cache, and which tags it depends on."""

    key: str
    tags: tuple[str, str]


def read_row(
    tracked: TrackedModel, pk: PrimaryKey, *, alias: str, ttl_seconds: int, fetch: Callable[[], Row | None]
) -> Row | None:
    """Return the row's column values, from the cache where it may be trusted, else from `fetch`.

    Args:
        alias: The database to read from.
        fetch: Reads the row from the database; None where there is none. A missing row is never cached.

    Queries:
        None on a hit (one round trip to the cache server), else one.
    """
    place = _place(tracked, pk, alias)
    reason = ""
    try:
        store = usable_store(tracked.model, alias, place.tags)
        found = store.read(place.key, place.tags)
        if breaker.is_open:
            breaker.succeeded()
        if found.entry is not None and None not in found.tokens:
            row = codec_for(tracked.model).decode(found.entry, found.tokens)
            if row is not None:
                _tell(tracked.model, "hit")
                return row
        require_committed_view(alias)
        taken = _usable_tokens(store, place.tags, found.tokens)
    except Bypass as bypass:
        reason = str(bypass)
    except StoreError as error:
        breaker.failed(str(error))
        reason = "outage"
    if reason:
        _tell(tracked.model, "bypass", reason)
        return fetch()
    row = fetch()
    _tell(tracked.model, "miss")
    if row is not None and row[tracked.pk_index] == pk:
        fill_rows(store, tracked, alias, {pk: row}, {pk: taken}, ttl_seconds=ttl_seconds)
    return row


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
        _warn_once(str(error))
        raise Bypass("outbox missing") from error
    except LookUnderWayError as error:
        raise Bypass("outbox") from error
    except Error as error:
        raise Bypass("outbox unreadable") from error  # the database will tell the caller itself


def require_committed_view(alias: str) -> None:
    """Raise Bypass where the open transaction sees writes of its own, which may yet be rolled back."""
    tracker = tracker_of(connections[alias])
    if tracker is not None and tracker.has_written:
        raise Bypass("transaction has written")


def fill_rows(
    store: Store,
    tracked: TrackedModel,
    alias: str,
    rows: Mapping[PrimaryKey, Row],
    taken: Mapping[PrimaryKey, tuple[bytes, ...]],
    *,
    ttl_seconds: int,
) -> int:
    """Store rows with the tokens taken before they were read; return how many were stored."""
    entries = {}
    for pk, row in rows.items():
        entry = codec_for(tracked.model).encode(row, taken[pk])
        if entry is None:
            _tell(tracked.model, "bypass", "value")
        else:
            entries[_place(tracked, pk, alias).key] = entry
    if entries:
        try:
            store.fill(entries, ttl_seconds=ttl_seconds)
        except StoreError as error:
            breaker.failed(str(error))
            return 0
    return len(entries)


def select_rows(
    queryset: QuerySet[Any], tracked: TrackedModel, keys: Iterable[PrimaryKey]
) -> dict[PrimaryKey, Row]:
    """Return the column values of the rows with these keys, by key, in one query; missing rows are left out.

    A row whose own key differs from all that were asked for (a database may find equal what Python does not)
    is left out too: nothing may be stored under a name that writers of the row do not know.
    """
    wanted = set(keys)
    rows = queryset.order_by().filter(pk__in=wanted).values_list(*tracked.columns)
    return {row[tracked.pk_index]: row for row in rows if row[tracked.pk_index] in wanted}


def _place(tracked: TrackedModel, pk: PrimaryKey, alias: str) -> Place:
    table, connection = tracked.table, connections[alias]
    scope = tag_scope(connection)
    return Place(
        entry_key(entry_scope(connection), table, codec_for(tracked.model).fingerprint, pk),
        (row_tag(scope, table, pk), table_tag(scope, table)),
    )


def _usable_tokens(store: Store, tags: tuple[str, ...], found: tuple[bytes | None, ...]) -> tuple[bytes, ...]:
    """Return the tokens a fill may use: those just read, or newly taken where some are missing."""
    complete = tuple(token for token in found if token is not None)
    taken = complete if len(complete) == len(tags) else store.take(tags)
    if any(tokens.is_in_flight(token) for token in taken):
        raise Bypass("write in flight")
    return taken


def _tell(model: type[Model], outcome: str, reason: str = "") -> None:
    cache_read.send(sender=model, outcome=outcome, reason=reason)


_warned: Final[set[str]] = set()


def _warn_once(problem: str) -> None:
    if problem not in _warned:
        _warned.add(problem)
        logger.warning("Cached reads go to the database: %s", problem)
