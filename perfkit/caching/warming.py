"""Warmers: what is to be in the cache before the first reader asks.

An app registers them in its module `warmers`:

    @warmer("airports")
    def airports() -> QuerySet[Airport]:
        return Airport.objects.all()

Each returns the queryset of the rows to fill by primary key; its model needs a `CachedManager`.
Warming twice, or on several hosts at once, does no harm: an entry holds the tokens of its own read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from django.db import DatabaseError, connections
from django.db.models import Model, QuerySet
from django.utils.module_loading import autodiscover_modules

from perfkit.caching.coherence import breaker
from perfkit.caching.databases import tag_scope
from perfkit.caching.manager import CachedManager
from perfkit.caching.registry import TrackedModel, track
from perfkit.caching.rows import fill_rows, select_rows
from perfkit.caching.store import StoreError
from perfkit.caching.tags import PrimaryKey, row_tag, table_tag
from perfkit.caching.tokens import is_in_flight
from perfkit.caching.trust import Bypass, require_committed_view, usable_store
from perfkit.conf import options
from perfkit.errors import UnknownWarmerError, UnsupportedModelError

BATCH_ROWS: Final = 500

Warmer = Callable[[], QuerySet[Any]]

_warmers: Final[dict[str, Warmer]] = {}


@dataclass(frozen=True, slots=True)
class WarmResult:
    """What one warmer did.

    Args:
        entries: Entries stored; in a dry run, rows that would be.
        rows: Rows its queryset selects.
        error: Why it stopped, empty where it did not.
    """

    name: str
    entries: int
    rows: int
    seconds: float
    error: str = ""


def warmer(name: str) -> Callable[[Warmer], Warmer]:
    """Register a function that returns the queryset of the rows to warm.

    Args:
        name: What `warm_cache` calls it; unique in the project.

    Raises:
        ValueError: Another function has this name.
    """

    def register(function: Warmer) -> Warmer:
        known = _warmers.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (
            function.__module__,
            function.__qualname__,
        ):
            raise ValueError(
                f"There are two warmers {name!r}: in {known.__module__} and in {function.__module__}."
            )
        _warmers[name] = function
        return function

    return register


def registered() -> list[str]:
    """Return the names of all warmers of the project, sorted."""
    autodiscover_modules("warmers")
    return sorted(_warmers)


def warm(
    names: Sequence[str] | None = None,
    *,
    dry_run: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[WarmResult]:
    """Fill the cache with what the warmers select.

    A warmer that fails does not keep the others from running.

    Args:
        names: Which warmers; all where None or empty.
        dry_run: Only count.
        progress: Told the warmer's name, the rows done and all its rows, after each batch.

    Returns:
        One result per warmer, in the order asked for.

    Raises:
        UnknownWarmerError: A name is not registered; raised before anything is warmed.

    Queries:
        Per warmer one count, and one or two for each 500 rows.
    """
    known = registered()
    for name in names or ():
        if name not in known:
            raise UnknownWarmerError(name, known)
    return [_warm_one(name, dry_run=dry_run, progress=progress) for name in names or known]


def _warm_one(name: str, *, dry_run: bool, progress: Callable[[str, int, int], None] | None) -> WarmResult:
    start = time.perf_counter()
    entries = rows = done = 0
    error = ""
    queryset = _warmers[name]()
    tracked = _tracked_model(queryset.model)
    try:
        rows = queryset.count()
        if dry_run:
            return WarmResult(name, rows, rows, time.perf_counter() - start)
        for batch in _batches(
            queryset.order_by().values_list("pk", flat=True).iterator(chunk_size=BATCH_ROWS)
        ):
            entries += _fill_batch(tracked, queryset.db, batch)
            done += len(batch)
            if progress is not None:
                progress(name, done, rows)
    except DatabaseError as problem:
        error = f"its rows cannot be read: {problem}"
    except Bypass as bypass:
        error = f"the cache cannot be filled: {bypass}"
    except StoreError as problem:
        breaker.failed(str(problem))
        error = f"the cache server does not answer: {problem}"
    if not error and breaker.is_open:
        error = "the cache server does not answer"
    return WarmResult(name, entries, rows, time.perf_counter() - start, error)


def _fill_batch(tracked: TrackedModel, alias: str, keys: list[PrimaryKey]) -> int:
    """Fill one batch of rows; those that a writer is about to change are left out."""
    connection = connections[alias]
    scope = tag_scope(connection)
    table = table_tag(scope, tracked.table)
    tags = (table, *(row_tag(scope, tracked.table, key) for key in keys))
    store = usable_store(tracked.model, connection, tags)
    require_committed_view(connection)
    table_token, *row_tokens = store.take(tags)
    breaker.succeeded()
    if is_in_flight(table_token):
        return 0
    taken: dict[PrimaryKey, tuple[bytes, ...]] = {
        key: (token, table_token)
        for key, token in zip(keys, row_tokens, strict=True)
        if not is_in_flight(token)
    }
    rows = select_rows(tracked, taken, alias)
    return fill_rows(store, tracked, alias, rows, taken, ttl_seconds=_ttl_seconds(tracked.model))


def _tracked_model(model: type[Model]) -> TrackedModel:
    """Raise UnsupportedModelError where no read by primary key would ever find the entries."""
    if not any(isinstance(manager, CachedManager) for manager in model._meta.managers):
        raise UnsupportedModelError(model._meta.label, "warm_cache", "it has no CachedManager.")
    tracked = track(model)
    if isinstance(tracked, str):
        raise UnsupportedModelError(model._meta.label, "warm_cache", f"{tracked}.")
    return tracked


def _ttl_seconds(model: type[Model]) -> int:
    ttls = [manager.ttl for manager in model._meta.managers if isinstance(manager, CachedManager)]
    return ttls[0] or options.CACHE_DEFAULT_TTL


def _batches(keys: Iterator[PrimaryKey]) -> Iterator[list[PrimaryKey]]:
    while batch := list(islice(keys, BATCH_ROWS)):
        yield batch
