"""Rows of one table, each to be found by its primary key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from django.db import connections
from django.db.models import Model, QuerySet

from perfkit.caching.coherence import breaker
from perfkit.caching.databases import tag_scope
from perfkit.caching.manager import CachedManager
from perfkit.caching.queryset import CachedQuerySet
from perfkit.caching.registry import TrackedModel, track
from perfkit.caching.rows import fill_rows, layout_of, select_rows
from perfkit.caching.store import Store
from perfkit.caching.tags import PrimaryKey, row_tag, table_tag
from perfkit.caching.tokens import is_in_flight
from perfkit.caching.trust import require_committed_view, usable_store
from perfkit.caching.warming.batches import Batch, Filled, Manner, is_fresh
from perfkit.conf import options
from perfkit.errors import UnsupportedModelError

BATCH_ROWS: Final = 500

Taken = dict[PrimaryKey, tuple[bytes, ...]]


class RowBatch(Batch):
    """Rows by their keys, read in one query.

    Queries:
        One, none where all hold. Round trips: one for the tokens, one to see what holds, one to store.
    """

    def __init__(self, tracked: TrackedModel, alias: str, keys: list[PrimaryKey]) -> None:
        self.size = len(keys)
        self._tracked = tracked
        self._alias = alias
        self._keys = keys

    def keys(self) -> Iterable[str]:
        """Return the keys of the entries."""
        layout = layout_of(self._tracked, connections[self._alias])
        return [layout.place(key).key for key in self._keys]

    def fill(self, manner: Manner) -> Filled:
        """Store the rows; see `Batch.fill`."""
        tracked, connection = self._tracked, connections[self._alias]
        scope = tag_scope(connection)
        table = table_tag(scope, tracked.table)
        tags = (table, *(row_tag(scope, tracked.table, key) for key in self._keys))
        store = usable_store(tracked.model, connection, tags)
        require_committed_view(connection)
        table_token, *row_tokens = store.take(tags)
        breaker.succeeded()
        if is_in_flight(table_token):
            return Filled()
        taken: Taken = {
            key: (token, table_token)
            for key, token in zip(self._keys, row_tokens, strict=True)
            if not is_in_flight(token)
        }
        ttl_seconds = _ttl_seconds(tracked.model)
        wanted = taken if manner.force else self._without_fresh(store, taken, ttl_seconds)
        held = len(taken) - len(wanted)
        if not wanted:
            return Filled(held=held)
        rows = select_rows(tracked, wanted, self._alias)
        stored = fill_rows(store, tracked, self._alias, rows, wanted, ttl_seconds=ttl_seconds)
        label = tracked.model._meta.label
        problems = [f"{label}: a row cannot be kept: {reason}" for reason in stored.refused]
        return Filled(stored.entries, stored.size_bytes, held, problems)

    def _without_fresh(self, store: Store, taken: Taken, ttl_seconds: int) -> Taken:
        layout = layout_of(self._tracked, connections[self._alias])
        places = {key: layout.place(key) for key in taken}
        stored = store.entries([place.key for place in places.values()])
        return {
            key: tokens
            for (key, tokens), entry in zip(taken.items(), stored, strict=True)
            if not is_fresh(places[key], entry, tokens, ttl_seconds=ttl_seconds)
        }


def row_batches(queryset: QuerySet[Any]) -> Iterator[RowBatch]:
    """Yield the rows of a queryset in batches, which are the same on every host as long as the rows are.

    Raises:
        UnsupportedModelError: No read by primary key would ever find the entries.

    Queries: one for the keys of all rows, some of which are in memory at a time.
    """
    tracked = _tracked_model(queryset.model)
    query = queryset.query
    is_ordered_for_good = query.is_sliced or query.combinator or query.distinct_fields
    ordered = queryset if is_ordered_for_good else queryset.order_by("pk")
    keys = ordered.values_list("pk", flat=True).iterator(chunk_size=BATCH_ROWS)
    while batch := list(islice(keys, BATCH_ROWS)):
        yield RowBatch(tracked, queryset.db, batch)


def row_count(queryset: QuerySet[Any]) -> int:
    """Return how many rows a queryset has, asked of the database.

    Raises:
        UnsupportedModelError: As `row_batches`.
    """
    _tracked_model(queryset.model)
    return (queryset.uncached() if isinstance(queryset, CachedQuerySet) else queryset).count()


def _tracked_model(model: type[Model]) -> TrackedModel:
    if not any(isinstance(manager, CachedManager) for manager in model._meta.managers):
        raise UnsupportedModelError(model._meta.label, "warm_cache", "it has no CachedManager.")
    tracked = track(model)
    if isinstance(tracked, str):
        raise UnsupportedModelError(model._meta.label, "warm_cache", f"{tracked}.")
    return tracked


def _ttl_seconds(model: type[Model]) -> int:
    ttls = [manager.ttl for manager in model._meta.managers if isinstance(manager, CachedManager)]
    return ttls[0] or options.CACHE_DEFAULT_TTL
