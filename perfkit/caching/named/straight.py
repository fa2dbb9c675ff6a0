"""The usual hit at the server: one question, where nothing else is to be minded.

# Note [The straight way]
`reads` minds all that may be: open transactions, several databases, outboxes that are due, outages, writers in
flight, entries that depend on something new, others who make the value. After the way to the server and back the
processor has to fetch again what code it runs, so that its amount counts.
Here a read is asked straight, where the thread sees what all others see, and the outboxes of the databases that it
depends on, and of the default one, were looked into lately. What is found is shown where it is what was expected.
In any other case it is as if nobody had read: `reads` begins anew, with what was fetched.
"""

from __future__ import annotations

import time
from asyncio import _get_running_loop
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from perfkit.caching.coherence import breaker
from perfkit.caching.entries import FAULTS
from perfkit.caching.memory import Held, Tokens, memory
from perfkit.caching.named.databases import Databases
from perfkit.caching.named.entries import decoded_body
from perfkit.caching.named.heads import body_in
from perfkit.caching.named.held import MISSING, Content, note_hit
from perfkit.caching.named.recipes import Named, Recipe
from perfkit.caching.named.standing import Standing
from perfkit.caching.reads import refuse_in_event_loop
from perfkit.caching.recorder import current_recorder
from perfkit.caching.scope import Question, begin_question, note_recent
from perfkit.caching.store import Store, StoredRead, StoreError, current_store
from perfkit.caching.tags import databases_of
from perfkit.caching.telling import read_begins
from perfkit.caching.tokens import is_in_flight
from perfkit.caching.trust import has_distrusted, is_outbox_due
from perfkit.conf import options


class Looked(NamedTuple):
    """What a read has asked for that has found nothing to show; see `NamedRead`."""

    tags: tuple[str, ...]
    stored: StoredRead


Straight = tuple[Any, Looked | None]
"""What has come of it: a value, else MISSING, and what was looked for in vain."""

_NOTHING: Final[Straight] = (MISSING, None)


def straight(recipe: Recipe, named: Named, standing: Standing | None) -> Straight:
    """Return the value of a name where it is the usual hit; see Note [The straight way].

    To be called where nobody traces the read: only who counts hits is told of it.

    Args:
        standing: How the thread stands.

    Queries:
        None. At most one round trip.
    """
    if standing is None:
        return _NOTHING
    mode = options.CACHE_MEMORY
    held = None if mode == "off" else memory.get(named.key)
    question = None if recipe.is_all or mode != "request" else begin_question()
    tags: tuple[str, ...] | None = recipe.tags_of.get(named.key) if held is None else held.content.tags
    if tags is None or tags[: len(named.tags)] != named.tags or (held is None and mode != "off"):
        return _NOTHING
    is_first = question is not None and question.scope.is_new  # which asks for others' tags too
    store = None if is_first else _store_to_ask(tags, standing.databases)
    if store is None:
        return _NOTHING
    if _get_running_loop() is not None:
        refuse_in_event_loop()
    try:
        if held is None:
            return _fetched(store, recipe, named, tags)
        return _proved(store, recipe, named, held, question)
    except StoreError as error:
        breaker.failed(str(error))
        return _NOTHING


def _fetched(store: Store, recipe: Recipe, named: Named, tags: tuple[str, ...]) -> Straight:
    """Fetch an entry, of which nothing is held in the process."""
    begun = read_begins()
    stored = store.look(named.key, tags)
    body = None if stored.entry is None else body_in(stored.entry, tags, stored.tokens)
    entry = None if body is None else decoded_body(named.key, tags, body)
    if entry is None or entry.refresh_at <= time.time() or _is_any_in_flight(stored.tokens):
        return MISSING, Looked(tags, stored)
    try:
        value = recipe.codec.unpacked(entry.kind, entry.payload)
    except FAULTS:
        return MISSING, Looked(tags, stored)
    recipe.note_tags(named.key, tags)
    _tell(
        recipe,
        named,
        tags,
        stored.tokens,
        ends=entry.ends,
        tier="store",
        begun=begun,
        made_seconds=entry.made_seconds,
    )
    return value, None


def _proved(store: Store, recipe: Recipe, named: Named, held: Held, question: Question | None) -> Straight:
    """Ask whether what the process holds still does; what does not is let go of."""
    begun = read_begins()
    content: Content = held.content
    found = store.tokens(content.tags)
    if question is not None:
        question.remember(content.tags, found)
        note_recent(content.tags)
    if found != held.tokens:
        memory.drop(named.key)
        return _NOTHING
    value = content.shown(recipe)
    _tell(recipe, named, content.tags, found, ends=content.ends, tier="process", begun=begun)
    return value, None


def _tell(
    recipe: Recipe,
    named: Named,
    tags: tuple[str, ...],
    tokens: Tokens,
    *,
    ends: float,
    tier: str,
    begun: float,
    made_seconds: float = 0.0,
) -> None:
    recorder = current_recorder()
    if recorder is not None:
        recorder.read(tags, tokens, ends=ends)
    note_hit(recipe, named, tags, tier=tier, begun=begun, made_seconds=made_seconds)


def _store_to_ask(tags: tuple[str, ...], databases: Databases) -> Store | None:
    """Return the store where it answers, and may be asked without looking into an outbox before."""
    if breaker.is_open or not options.CACHE_ENABLED:
        return None
    for database in _databases_of(tags) | {databases.default}:
        alias = databases.aliases.get(database)
        if alias is None or is_outbox_due(alias) or has_distrusted(alias, tags):
            return None
    store = current_store()
    return store if store is not None and store.is_shared else None


def _is_any_in_flight(tokens: Sequence[bytes | None]) -> bool:
    for token in tokens:  # noqa: SIM110  # a generator takes twice the time, on each hit
        if token is None or is_in_flight(token):
            return True
    return False


_databases_of: Final = lru_cache(maxsize=1024)(databases_of)
