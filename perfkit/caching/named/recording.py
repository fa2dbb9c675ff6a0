"""What a function reads while it runs, and the tokens of it as they were before.

# Note [What is recorded]
Each statement is seen before it is sent, on whatever connection, and the tokens of its tables are taken then;
of those that the function has read the last time they are taken before it begins, in one round trip.
A cached read tells the tags and tokens of its own answer, which may be finer than a table; so does whoever sends
a statement and knows that it is kept to some rows (`recorder.reading_part`).
So a write that commits later changes a token that the value was made with.
Where a statement cannot be read, sees what others do not (an own write, an old snapshot, a replica),
or reads what nobody watches, the value is not kept.
What is read past Django's cursors, or in a thread that the function starts by itself, is not seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from django.db import DEFAULT_DB_ALIAS, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from perfkit.caching import tokens as token_kinds
from perfkit.caching.bypass import Bypass, UntrackedTableBypass
from perfkit.caching.coherence import breaker
from perfkit.caching.databases import tag_scope
from perfkit.caching.memory import Tokens
from perfkit.caching.named.read_tables import tags_read
from perfkit.caching.recorder import current_part
from perfkit.caching.registry import TrackedTable, owners, table_name, tracked_tables, watched_models
from perfkit.caching.store import Store, StoreError
from perfkit.caching.tags import table_of
from perfkit.caching.trust import require_committed_view, usable_store


class Recording:
    """The tags of what is read while it is current, with the tokens that were taken before.

    Attributes:
        tokens: By tag.
        ends: When the first of the answers that were read is no longer to be shown, in seconds since 1970.
        refusal: Why the value may not be kept, empty where it may.
        advice: What to do about that, where something can be done.
        is_lasting: Whether the next one made in the same way may not be kept either.

    Args:
        known: Tokens that were taken before anything was read; only those of tags that are read count.
    """

    def __init__(self, store: Store, known: Mapping[str, bytes]) -> None:
        self.tokens: dict[str, bytes] = {}
        self.ends = math.inf
        self.refusal = ""
        self.advice = ""
        self.is_lasting = False
        self._store = store
        self._known = dict(known)

    def about_to_run(self, connection: BaseDatabaseWrapper, sql: str) -> None:
        """Note that a statement is about to be sent, and take the tokens of what it reads."""
        if self.refusal:
            return
        try:
            tags = tags_read(connection, sql, tag_scope(connection))
        except Bypass as bypass:
            self.refuse(getattr(bypass, "reason", str(bypass)))
            self.advice = str(bypass) if isinstance(bypass, UntrackedTableBypass) else ""
            self.is_lasting = True
            return
        part = current_part()
        if part is not None and part.sql == sql and part.table in tags:
            others = [tag for tag in tags if tag != part.table]
            self._take(connection, (*others, *part.lasting), besides=part.besides)
        elif tags:
            self._take(connection, tags)

    def _take(
        self, connection: BaseDatabaseWrapper, tags: tuple[str, ...], *, besides: tuple[str, ...] = ()
    ) -> None:
        """Take the tokens of what is read, and, to be known later, of what may turn out to be."""
        try:
            _require_common_view(connection, (*tags, *besides))
            new = [tag for tag in (*tags, *besides) if tag not in self.tokens and tag not in self._known]
            taken = dict(zip(new, self._store.take(new), strict=True)) if new else {}
        except Bypass as bypass:
            self.refuse(str(bypass))
        except StoreError as error:
            breaker.failed(str(error))
            self.refuse("outage")
        else:
            self._known.update({tag: taken[tag] for tag in besides if tag in taken})
            self.read(tags, tuple(map(taken.get, tags)))

    def read(self, tags: Sequence[str], tokens: Tokens, *, ends: float = math.inf) -> None:
        """Note what a read depends on, with the tokens that its answer was made with.

        A cached read may have an answer that its scope knows from before anything was recorded.
        """
        self.ends = min(self.ends, ends)
        for tag, found in zip(tags, tokens, strict=False):
            token = self.tokens.get(tag) or self._known.get(tag) or found
            if token is None or token_kinds.is_in_flight(token):
                self.refuse("write in flight")
                return
            if found is not None and found != token:
                self.refuse("written meanwhile")
                return
            self.tokens[tag] = token

    def refuse(self, reason: str) -> None:
        """Note that what is read cannot be told; the first reason stands."""
        self.refusal = self.refusal or reason


def _require_common_view(connection: BaseDatabaseWrapper, tags: Sequence[str]) -> None:
    """Raise Bypass where the connection may see other rows than all others do, now or when it reads them."""
    models = [model for tag in tags if (model := _models().get(table_of(tag))) is not None]
    for model in models[:1]:
        usable_store(model, connection, tuple(tags))
    if connection.alias != DEFAULT_DB_ALIAS or router.routers:
        for model in models[1:]:
            if router.db_for_write(model) != connection.alias:
                raise Bypass("replica")
    require_committed_view(connection)


_known_models: tuple[Mapping[str, TrackedTable], dict[str, type[Model]]] = ({}, {})
"""The tracked tables, and their models by the names of those."""


def _models() -> Mapping[str, type[Model]]:
    global _known_models  # noqa: PLW0603  # replaced as a whole, for other threads use it meanwhile
    tracked = tracked_tables()
    if _known_models[0] is not tracked:
        models = {table_name(owner): owner for model in watched_models() for owner in owners(model)}
        _known_models = (tracked, models)
    return _known_models[1]
