"""What is stored under a key, for a row or about tags, and whether it still holds: shown, not changed."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import Model

from perfkit.caching.control import databases_of, tags_of_tables
from perfkit.caching.databases import entry_scope, tag_scope
from perfkit.caching.entries import decoded, facts_of
from perfkit.caching.memory import Tokens
from perfkit.caching.named.heads import tags_in, tokens_in
from perfkit.caching.registry import cached_models, track
from perfkit.caching.rows import layout_of
from perfkit.caching.store import Store, StoreError, current_store
from perfkit.caching.tags import any_write_tag, row_prefix, table_tag
from perfkit.caching.tokens import is_in_flight
from perfkit.conf import options
from perfkit.errors import CacheUnreachableError, UnsupportedModelError

HOLDS: Final = "holds"
CHANGED: Final = "written since"
GONE: Final = "gone"
IN_FLIGHT: Final = "being written"
UNKNOWN: Final = "unknown"
KEPT: Final = "kept"
NONE: Final = "none"

NAMED: Final = "v:"
"""Begins the keys of what is kept under names."""

ROW_PARTS: Final = 5
"""Of the key of a row's entry, which colons join: `tags.entry_prefix` and the row's own key."""


@dataclass(frozen=True, slots=True)
class TagState:
    """A tag, and how it stands.

    Args:
        tag: An empty text where it is not known which it is.
        state: Of a tag that an entry depends on: whether its token still holds, was changed by a write since,
            is gone (evicted, or its time over: that voids as well), is being written at this moment, or is of a
            tag that cannot be told from here. Of others: whether a token is kept, none is, or it is being written.
    """

    tag: str
    state: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is stored under one key.

    Args:
        database: The alias of the database that a row is of; empty for a key.
        size_bytes: None where nothing is stored; then the tags are those that an entry would depend on.
        seconds_left: Until it is forgotten.
        row_count: None where the bytes are not readable, or there are none.
        is_value: Whether it is what a function or a caller has kept under a name, and no rows.
        is_valid: Whether a read would be answered with it, as far as its tags are known.
        rows: Their values.
    """

    key: str
    database: str = ""
    size_bytes: int | None = None
    seconds_left: float | None = None
    row_count: int | None = None
    is_compressed: bool = False
    is_value: bool = False
    is_valid: bool = False
    tags: tuple[TagState, ...] = ()
    rows: Sequence[Sequence[Any]] = field(default=(), repr=False)


def inspect_row(model: type[Model], pk: str) -> list[Inspection]:
    """Return what is stored of a row for `get(pk=…)`, for each database that its model lives in.

    Raises:
        UnsupportedModelError: Rows of the model are not cached by their keys.
        ValueError: The text is no primary key of the model.
        CacheUnreachableError: There is no store, or it does not answer.

    Queries: none; two round trips for each database.
    """
    if model not in cached_models():
        raise UnsupportedModelError(model._meta.label, "inspect", "it has no CachedManager.")
    tracked = track(model)
    if isinstance(tracked, str):
        raise UnsupportedModelError(model._meta.label, "inspect", f"{tracked}.")
    try:
        key = tracked.to_pk(model._meta.pk.to_python(pk))
    except ValidationError:
        key = None
    if key is None:
        raise ValueError(f"{pk!r} is no primary key of {model._meta.label}.")
    found = []
    with _answering() as store:
        for alias in databases_of(model):
            place = layout_of(tracked, connections[alias]).place(key)
            found.append(_inspected(store, place.key, place.tags, database=alias, lasting=place.lasting))
    return found


def inspect_key(key: str) -> Inspection:
    """Return what is stored under a key, with or without the prefix that it has on the server.

    Which tags an answer depends on is not stored with it; they are told by their tokens.

    Raises:
        CacheUnreachableError: There is no store, or it does not answer.

    Queries: none; two round trips.
    """
    name = without_prefix(key)
    with _answering() as store:
        tags = tuple(_row_tags(name))
        if tags:
            return _inspected(store, name, tags, lasting=2)
        return _inspected(store, name, None, lasting=0)


def without_prefix(key: str) -> str:
    """Return what perfkit calls a key of the server."""
    prefix = re.escape(options.CACHE_KEY_PREFIX)
    return re.sub(rf"\A{prefix}:[0-9a-f]{{16}}:", "", key)


def inspect_tags(tags: Collection[str]) -> list[TagState]:
    """Return how tags stand, in their order.

    Raises:
        CacheUnreachableError: There is no store, or it does not answer.

    Queries: none; one round trip.
    """
    with _answering() as store:
        return _states(store, sorted(tags))


@contextmanager
def _answering() -> Iterator[Store]:
    """Yield the store; raise CacheUnreachableError where there is none or it does not answer."""
    store = current_store()
    if store is None:
        raise CacheUnreachableError("there is none, for caching is off")
    try:
        yield store
    except StoreError as error:
        raise CacheUnreachableError(str(error)) from error


def _states(store: Store, tags: Sequence[str]) -> list[TagState]:
    return [TagState(tag, _kept(token)) for tag, token in zip(tags, _tokens(store, tags), strict=True)]


def _tokens(store: Store, tags: Sequence[str]) -> Tokens:
    return store.tokens(tags) if tags else ()


def _inspected(
    store: Store, key: str, tags: tuple[str, ...] | None, *, lasting: int, database: str = ""
) -> Inspection:
    entry = store.read(key, ()).entry
    if entry is None:
        return Inspection(key, database, tags=tuple(_states(store, tags or ())))
    named = tags_in(entry)
    if key.startswith(NAMED) and named:
        now = _tokens(store, named)
        states = [TagState(*each) for each in zip(named, map(_holds, tokens_in(entry), now), strict=False)]
        return Inspection(
            key,
            size_bytes=len(entry),
            is_value=True,
            is_valid=all(each.state == HOLDS for each in states),
            tags=tuple(states),
        )
    facts = facts_of(entry)
    if facts is None:
        return Inspection(key, database, size_bytes=len(entry))
    rows = decoded(entry, facts.tokens)
    made_with = facts.tokens[1:]
    if tags is None:
        states = _recognised(store, made_with)
    else:
        tags = tags[: len(made_with)]
        states = [
            TagState(tag, _holds(before, now))
            for tag, before, now in zip(tags, made_with, _tokens(store, tags), strict=False)
        ]
        states += [TagState("", UNKNOWN)] * (len(made_with) - len(tags))
    return Inspection(
        key,
        database,
        size_bytes=len(entry),
        seconds_left=max(facts.ends - time.time(), 0.0),
        row_count=None if rows is None else len(rows),
        is_compressed=facts.is_compressed,
        is_valid=(
            rows is not None
            and facts.tokens[:1] == (key.encode(),)
            and len(made_with) >= lasting
            and all(each.state == HOLDS for each in states)
        ),
        tags=tuple(states),
        rows=rows or (),
    )


def _recognised(store: Store, made_with: Tokens) -> list[TagState]:
    """Return the tags that have an entry's tokens now; one that was written since has another."""
    candidates = sorted(tags_of_tables())
    tags_by_token: dict[bytes, list[str]] = {}
    for tag, token in zip(candidates, _tokens(store, candidates), strict=True):
        if token is not None and not is_in_flight(token):
            tags_by_token.setdefault(token, []).append(tag)
    states = []
    for token in made_with:
        tags = tags_by_token.get(token or b"")
        states.append(TagState(tags.pop(0), HOLDS) if tags else TagState("", UNKNOWN))
    return states


def _row_tags(key: str) -> Iterator[str]:
    """Yield the tags that the entry of a row depends on, none where the key is that of another thing."""
    parts = key.split(":", ROW_PARTS - 1)
    if len(parts) < ROW_PARTS or parts[0] != "e":
        return
    _, database, table, _, row = parts
    for alias in connections:
        connection = connections[alias]
        if entry_scope(connection) == database:
            scope, name = tag_scope(connection), table.replace("%3A", ":")
            yield from (row_prefix(scope, name) + row, table_tag(scope, name), any_write_tag(scope, name))
            return


def _holds(before: bytes | None, now: bytes | None) -> str:
    if now is None:
        return GONE
    if is_in_flight(now):
        return IN_FLIGHT
    return HOLDS if now == before else CHANGED


def _kept(token: bytes | None) -> str:
    if token is None:
        return NONE
    return IN_FLIGHT if is_in_flight(token) else KEPT
