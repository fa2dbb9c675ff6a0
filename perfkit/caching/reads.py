"""One cached read, whatever it reads: from its key to the server and back."""

from __future__ import annotations

import time
from asyncio import _get_running_loop
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, cast

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.utils.asyncio import async_unsafe

from perfkit.caching.bypass import Bypass
from perfkit.caching.coherence import breaker
from perfkit.caching.counting import counting
from perfkit.caching.entries import UnstorableError, decoded, shareable_until
from perfkit.caching.fills import offer, usable_tokens
from perfkit.caching.flights import durations, pauses
from perfkit.caching.memory import OBJECT_BYTES, Tokens, memory
from perfkit.caching.places import Place, Rows, stamp
from perfkit.caching.recorder import current_recorder, recorded_by
from perfkit.caching.scope import Question, begin_question, current_scope, note_recent
from perfkit.caching.store import Store, StoreError
from perfkit.caching.tags import lease_name
from perfkit.caching.telling import read_begins, tell_read
from perfkit.caching.trust import (
    has_own_session,
    has_written,
    is_at_rest,
    is_in_transaction,
    late_tags,
    require_committed_view,
    tell_bypass,
    usable_store,
)
from perfkit.conf import options
from perfkit.signals import cache_read, work


def read_rows(
    model: type[Model],
    place: Place,
    *,
    connection: BaseDatabaseWrapper,
    ttl_seconds: int,
    fetch: Callable[[], Rows],
    is_expected: Callable[[Rows], bool],
) -> Rows:
    """Return rows of column values, from the cache where it may be trusted, else from `fetch`.

    Args:
        model: Whom `cache_read` is told of.
        connection: To the database to read from.
        fetch: Reads the rows from the database.
        is_expected: Whether rows may be an answer to this read; others are neither kept nor taken from the cache.

    Queries:
        None on a hit (one round trip to the cache server), else those of `fetch`.
        Of many who miss a slow answer together one fetches, and the others wait for it.
    """
    known = known_rows(model, place, connection)
    if known is not None:
        return known
    with work.begin("cache.read", model):
        return _looked_up(
            model, place, connection=connection, ttl_seconds=ttl_seconds, fetch=fetch, is_expected=is_expected
        )


def known_rows(model: type[Model], place: Place, connection: BaseDatabaseWrapper) -> Rows | None:
    """Return rows of which the scope knows that they hold, None where more must be asked.

    Then neither the server nor the outbox can say more: they tell of what was committed later.
    See Note [The promise within a scope] in `scope`.

    Queries: none, and no round trip.
    """
    if _get_running_loop() is not None:
        refuse_in_event_loop()
    scope = current_scope()
    if scope is None:
        return None
    held = memory.get(place.key)
    if held is None or not scope.knows(place.tags, held.tokens):
        return None
    if not options.show_what_is_known() or not is_at_rest(connection):
        return None
    recorder = current_recorder()
    if recorder is not None:
        recorder.read(place.tags, held.tokens)
    if cache_read.receivers:
        tags = place.tags_of(held.content)
        tell_read(model, "hit", key=place.key, tags=tags, tier="request", family=place.family)
    else:
        counting.hit(model)  # which `send` does too, in twice the time
    rows: Rows = held.content
    return rows


def _looked_up(
    model: type[Model],
    place: Place,
    *,
    connection: BaseDatabaseWrapper,
    ttl_seconds: int,
    fetch: Callable[[], Rows],
    is_expected: Callable[[Rows], bool],
) -> Rows:
    """Return rows as `read_rows` does, where `known_rows` has returned none."""
    lease = ""
    begun = read_begins()
    question = begin_question()
    try:
        durations.require_keepable(place.key)
        store = usable_store(model, connection, place.tags[: place.lasting])
        rows, found, tier = _recalled(
            store, place, question, is_expected, connection, ttl_seconds=ttl_seconds
        )
        if rows is None:
            require_committed_view(connection)
            found = taken = usable_tokens(store, place, found)
            if durations.needs_flight(place.family) and not is_in_transaction(connection):
                look = partial(
                    _recalled, store, place, question, is_expected, connection, ttl_seconds=ttl_seconds
                )
                rows, found, tier, lease = _waited(store, place, taken, look)
                taken = cast("tuple[bytes, ...]", found)  # where there are no rows, all of them were taken
    except (Bypass, UnstorableError) as reason:
        tell_bypass(model, str(reason), place, begun=begun)
        return fetch()
    except StoreError as error:
        breaker.failed(str(error))
        tell_bypass(model, "outage", place, begun=begun)
        return fetch()
    if rows is not None:
        recorder = current_recorder()
        if recorder is not None:
            recorder.read(place.tags_of(rows), found)
        tags = place.tags_of(rows)
        tell_read(model, "hit", key=place.key, tags=tags, tier=tier, begun=begun, family=place.family)
        return rows
    try:
        fetched, may_be_kept = _fetched(model, place, taken, connection=connection, fetch=fetch, begun=begun)
        if may_be_kept and is_expected(fetched):
            offer(store, model, place, fetched, taken, ttl_seconds=ttl_seconds, is_awaited=bool(lease))
        elif may_be_kept:
            durations.cannot_keep(place.key, UnstorableError("unexpected answer"))
    finally:
        if lease:
            _released(store, lease)
    return fetched


def _fetched(
    model: type[Model],
    place: Place,
    taken: tuple[bytes, ...],
    *,
    connection: BaseDatabaseWrapper,
    fetch: Callable[[], Rows],
    begun: float,
) -> tuple[Rows, bool]:
    """Ask the database; return its rows, and whether they are what others would get."""
    started = time.perf_counter()
    recorder = current_recorder()
    with recorded_by(None):
        rows = fetch()
    durations.took(place.family, time.perf_counter() - started)
    tell_read(model, "miss", key=place.key, tags=place.tags_of(rows), begun=begun)
    has_own = has_own_session(connection)  # its pool has lent it just now, and to others before
    if has_own:
        tell_bypass(model, "session setting", place)
    if recorder is not None:
        recorder.read(place.tags_of(rows), taken)
        if has_own:
            recorder.refuse("session setting")
    return rows, not has_own


@async_unsafe
def refuse_in_event_loop() -> None:
    """Raise what Django raises of a query there, unless its environment allows it."""


class Found(NamedTuple):
    """What a look into the cache has found.

    Args:
        rows: None where nothing is kept that still holds.
        tokens: Of the tags of the place.
        tier: Where the rows were; see `signals`.
    """

    rows: Rows | None
    tokens: Tokens
    tier: str = ""


def _waited(
    store: Store, place: Place, taken: tuple[bytes, ...], look: Callable[[], Found]
) -> tuple[Rows | None, Tokens, str, str]:
    """Wait for another one who computes the answer, or become the one.

    Returns:
        The rows, if they are there now, the tokens that they were found with, and where they were; else the
        tokens to fill with, and the lease to release afterwards, empty where the other one takes too long to be
        waited for.
    """
    seconds = durations.lease_seconds(place.family)
    for _ in chain([None], pauses(2 * seconds)):  # for one who dies, and for the next one
        name = lease_name(place.key, taken)
        is_mine = store.lease(name, lease_ms=int(seconds * 1000))
        try:
            rows, found, tier = look()  # the one before may have filled it just now
            taken = usable_tokens(store, place, found) if rows is None else taken
        except Bypass:
            if is_mine:
                store.release(name)
            raise
        if is_mine and rows is None:
            return None, taken, "", name
        if is_mine:
            store.release(name)
        if rows is not None:
            return rows, found, tier, ""
        if not durations.needs_flight(place.family):
            break
    return None, taken, "", ""


def _released(store: Store, lease: str) -> None:
    try:
        store.release(lease)
    except StoreError as error:
        breaker.failed(str(error))  # it ends by itself


def _recalled(
    store: Store,
    place: Place,
    question: Question | None,
    is_expected: Callable[[Rows], bool],
    connection: BaseDatabaseWrapper,
    *,
    ttl_seconds: int,
) -> Found:
    """Return what is kept at a place, no rows where nothing is that still holds, and the tokens of its tags.

    Queries:
        None; round trips: none where the scope and this process's memory know enough, else one,
        and two where the memory holds what is void.
    """
    mode = options.CACHE_MEMORY if store.is_shared else "off"
    if mode != "request":
        question = None
    held = memory.get(place.key) if mode != "off" else None
    if held is not None and _may_show(held.content, place, connection):
        tags = place.tags[: len(held.tokens)]
        if question is not None and question.scope.knows(tags, held.tokens):
            return Found(held.content, held.tokens, "request")
        if _asked(question, connection, tags, store.tokens) == held.tokens:
            return Found(held.content, held.tokens, "process")
    entry = None

    def read(tags: Sequence[str]) -> Tokens:
        nonlocal entry
        entry, found = store.read(place.key, tags)
        return found

    found = _asked(question, connection, place.tags, read)
    if entry is None:
        return Found(None, found)
    rows, used = _rows_in(entry, place, found)
    if rows is None or not is_expected(rows) or not _may_show(rows, place, connection):
        return Found(None, found)
    if mode != "off" and (ends := shareable_until(entry)) is not None:
        left_seconds = min(ends - time.time(), ttl_seconds)
        memory.put(place.key, used, rows, size_bytes=OBJECT_BYTES * len(entry), seconds=left_seconds)
    return Found(rows, found, "store")


def _rows_in(entry: bytes, place: Place, found: Tokens) -> tuple[list[tuple[Any, ...]] | None, Tokens]:
    """Return the rows of an entry that was made with tokens just found, and which of them it was made with."""
    lasting = found[: place.lasting]
    if None in lasting:
        return None, found
    rows = decoded(entry, stamp(place.key, lasting))
    if rows or place.lasting == len(found):
        return rows, lasting
    return (None if None in found else decoded(entry, stamp(place.key, found))), found


def _may_show(rows: Rows, place: Place, connection: BaseDatabaseWrapper) -> bool:
    """Say whether the open transaction has not made rows that an answer without any would have to show."""
    return bool(rows) or not has_written(connection, place.tags[place.lasting :])


def _asked(
    question: Question | None,
    connection: BaseDatabaseWrapper,
    tags: tuple[str, ...],
    ask: Callable[[Sequence[str]], Tokens],
) -> Tokens:
    """Ask for the tokens of `tags`; within a scope remember them, and at its first read ask for late ones too."""
    wanted = tags
    if question is not None and question.scope.is_new:
        wanted = (*tags, *late_tags(connection, tags))
    found = ask(wanted)
    if breaker.is_open:
        breaker.succeeded()
    if question is None:
        return found
    question.remember(wanted, found)
    note_recent(tags)
    return found[: len(tags)]
