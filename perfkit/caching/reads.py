"""One cached read, whatever it reads: from its key to the server and back.

# Note [Why a fill cannot be stale]
The tokens are taken before the rows are read and stored inside the entry.
A write that commits later changes a token, so that the entry no longer equals what the server holds:
it is dead, even if it arrives after the write is done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final, NamedTuple

from django.db import Error, connections, router
from django.db.models import Model
from django.utils.asyncio import async_unsafe

from perfkit.caching import tokens
from perfkit.caching.coherence import breaker, outbox
from perfkit.caching.databases import is_watchable
from perfkit.caching.entries import UnstorableError, decoded, encoded, shareable_until
from perfkit.caching.flights import durations, pauses
from perfkit.caching.memory import Tokens, memory
from perfkit.caching.outbox import LookUnderWayError, OutboxMissingError
from perfkit.caching.scope import TokenScope, current_scope, note_recent, recent_tags
from perfkit.caching.store import Store, StoreError, current_store
from perfkit.caching.tags import lease_name
from perfkit.caching.writes import tracker_of
from perfkit.conf import options
from perfkit.signals import cache_read

logger: Final = logging.getLogger("perfkit.caching")

PROBE: Final = "p:probe"
"""A tag that nothing depends on: a full server, or a replica, answers reads and yet can be told nothing."""

Rows = Sequence[Sequence[Any]]


class Bypass(Exception):  # noqa: N818  # an answer, not an error: it never leaves this room
    """The read goes to the database and stores nothing; the argument is the reason."""


class Place(NamedTuple):
    """Where an answer is in the cache, which tags it depends on, and what takes about as long to compute."""

    key: str
    tags: tuple[str, ...]
    family: Hashable


@async_unsafe
def read_rows(
    model: type[Model],
    place: Place,
    *,
    alias: str,
    ttl_seconds: int,
    fetch: Callable[[], Rows],
    is_expected: Callable[[Rows], bool],
) -> Rows:
    """Return rows of column values, from the cache where it may be trusted, else from `fetch`.

    Args:
        model: Whom `cache_read` is told of.
        alias: The database to read from.
        fetch: Reads the rows from the database.
        is_expected: Whether rows may be an answer to this read; others are neither kept nor taken from the cache.

    Queries:
        None on a hit (one round trip to the cache server), else those of `fetch`.
        Of many who miss a slow answer together one fetches, and the others wait for it.
    """
    reason = ""
    lease = ""
    try:
        store = usable_store(model, alias, place.tags)
        rows, found = _recalled(store, place, is_expected, ttl_seconds)
        if rows is None:
            require_committed_view(alias)
            taken = _usable_tokens(store, place.tags, found)
            if durations.needs_flight(place.family) and not _is_in_transaction(alias):
                look = partial(_recalled, store, place, is_expected, ttl_seconds)
                rows, taken, lease = _waited(store, place, taken, look)
    except Bypass as bypass:
        reason = str(bypass)
    except StoreError as error:
        breaker.failed(str(error))
        reason = "outage"
    if reason:
        tell_bypass(model, reason)
        return fetch()
    if rows is not None:
        cache_read.send(sender=model, outcome="hit", reason="")
        return rows
    started = time.perf_counter()
    try:
        fetched = fetch()
        durations.took(place.family, time.perf_counter() - started)
        cache_read.send(sender=model, outcome="miss", reason="")
        answers = {place.key: (fetched, taken)} if is_expected(fetched) else {}
        if not fill(store, model, answers, ttl_seconds=ttl_seconds) and lease:
            durations.was_not_kept(place.family)
    finally:
        if lease:
            _released(store, lease)
    return fetched


def _waited(
    store: Store, place: Place, taken: tuple[bytes, ...], look: Callable[[], tuple[Rows | None, Tokens]]
) -> tuple[Rows | None, tuple[bytes, ...], str]:
    """Wait for another one who computes the answer, or become the one.

    Returns:
        The rows, if they are there now; else the tokens to fill with, and the lease to release afterwards,
        empty where the other one takes too long to be waited for.
    """
    seconds = durations.lease_seconds(place.family)
    for _ in chain([None], pauses(2 * seconds)):  # for one who dies, and for the next one
        name = lease_name(place.key, taken)
        is_mine = store.lease(name, lease_ms=int(seconds * 1000))
        try:
            rows, found = look()  # the one before may have filled it just now
            taken = _usable_tokens(store, place.tags, found) if rows is None else taken
        except Bypass:
            if is_mine:
                store.release(name)
            raise
        if is_mine and rows is None:
            return None, taken, name
        if is_mine:
            store.release(name)
        if rows is not None:
            return rows, taken, ""
        if not durations.needs_flight(place.family):
            break
    return None, taken, ""


def _released(store: Store, lease: str) -> None:
    try:
        store.release(lease)
    except StoreError as error:
        breaker.failed(str(error))  # it ends by itself


def _is_in_transaction(alias: str) -> bool:
    """Say whether others may wait for locks of this reader, who must not wait for them in turn."""
    tracker = tracker_of(connections[alias])
    return tracker is not None and tracker.in_transaction


def _recalled(
    store: Store, place: Place, is_expected: Callable[[Rows], bool], ttl_seconds: int
) -> tuple[Rows | None, Tokens]:
    """Return what is kept at a place, None where nothing is that still holds, and the tokens of its tags.

    Queries:
        None; round trips: none where the scope and this process's memory know enough, else one,
        and two where the memory holds what is void.
    """
    mode = options.CACHE_MEMORY if store.is_shared else "off"
    scope = current_scope() if mode == "request" else None
    held = memory.get(place.key) if mode != "off" else None
    if held is not None:
        if scope is not None and scope.tokens(place.tags) == held.tokens:
            return held.rows, held.tokens
        if _asked(scope, place.tags, store.tokens) == held.tokens:
            return held.rows, held.tokens
    entry = None

    def read(tags: Sequence[str]) -> Tokens:
        nonlocal entry
        entry, found = store.read(place.key, tags)
        return found

    found = _asked(scope, place.tags, read)
    if entry is None or None in found:
        return None, found
    rows = decoded(entry, _stamp(place.key, found))
    if rows is None or not is_expected(rows):
        return None, found
    if mode != "off" and (ends := shareable_until(entry)) is not None:
        left_seconds = min(ends - time.time(), ttl_seconds)
        memory.put(place.key, found, rows, entry_bytes=len(entry), seconds=left_seconds)
    return rows, found


def _asked(scope: TokenScope | None, tags: tuple[str, ...], ask: Callable[[Sequence[str]], Tokens]) -> Tokens:
    """Ask for the tokens of `tags`; within a scope remember them, and at its first read ask for late ones too."""
    moment = 0 if scope is None else scope.moment
    wanted = tags
    if scope is not None and scope.is_new:
        wanted = (*tags, *(tag for tag in recent_tags() if tag not in tags))
    found = ask(wanted)
    if breaker.is_open:
        breaker.succeeded()
    if scope is None:
        return found
    scope.remember(wanted, found, moment=moment)
    note_recent(tags)
    return found[: len(tags)]


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
    if tracker is not None and tracker.has_own_session:
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


def require_committed_view(alias: str) -> None:
    """Raise Bypass where the open transaction sees writes of its own, which may yet be rolled back."""
    tracker = tracker_of(connections[alias])
    if tracker is not None and tracker.has_written:
        raise Bypass("transaction has written")


def fill(
    store: Store,
    model: type[Model],
    answers: Mapping[str, tuple[Rows, tuple[bytes, ...]]],
    *,
    ttl_seconds: int,
) -> int:
    """Store answers by key, each with the tokens taken before its rows were read; return how many were stored."""
    entries = {}
    for key, (rows, taken) in answers.items():
        try:
            entries[key] = encoded(rows, _stamp(key, taken), ends=time.time() + ttl_seconds)
        except UnstorableError as error:
            tell_bypass(model, str(error))
    if entries:
        try:
            store.fill(entries, ttl_seconds=ttl_seconds)
        except StoreError as error:
            breaker.failed(str(error))
            return 0
    return len(entries)


def _stamp(key: str, found: Tokens) -> Tokens:
    """Return what an entry must hold to be trusted: its own key, for it may have been copied, and the tokens."""
    return (key.encode(), *found)


def _usable_tokens(store: Store, tags: tuple[str, ...], found: tuple[bytes | None, ...]) -> tuple[bytes, ...]:
    """Return the tokens a fill may use: those just read, or newly taken where some are missing."""
    complete = tuple(token for token in found if token is not None)
    taken = complete if len(complete) == len(tags) else store.take(tags)
    if any(tokens.is_in_flight(token) for token in taken):
        raise Bypass("write in flight")
    return taken


def tell_bypass(model: type[Model], reason: str) -> None:
    """Tell that a read of `model` goes past the cache, or is not stored, and why."""
    cache_read.send(sender=model, outcome="bypass", reason=reason)


_warned: Final[set[str]] = set()


def warn_once(problem: str) -> None:
    """Log why cached reads go to the database; each problem once in the life of the process."""
    if problem not in _warned:
        _warned.add(problem)
        logger.warning("Cached reads go to the database: %s", problem)
