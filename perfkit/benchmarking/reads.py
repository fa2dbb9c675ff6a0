"""The reads of one model that are measured: plain Django against perfkit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle
from typing import Any, Final

from django.core.exceptions import ObjectDoesNotExist
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import QuerySet

from perfkit.benchmarking.chosen import Chosen
from perfkit.benchmarking.pairs import Pair
from perfkit.caching import token_scope
from perfkit.caching.control import invalidate, tags_of_model
from perfkit.loading import FastQuerySet, eager
from perfkit.paging.keys import keyed, value_of
from perfkit.paging.segments import after
from perfkit.signals import cache_read

PAGE_ROWS: Final = 20
LONG_ROWS: Final = 1_000
RELATED_ROWS: Final = 100
MOST_RELATIONS: Final = 4
MOST_KEYS: Final = 100
DEEPEST_ROW: Final = 1_000_000
"""From which a page is asked for; to skip more takes longer than anybody waits."""

DJANGO: Final = "plain Django"


class Reads:
    """What is read of one model, as its manager shows it, uncached.

    Attributes:
        plain: Evaluated by Django alone.
        fast: By perfkit, from the database.
        rows: How many there are.
    """

    def __init__(self, chosen: Chosen, *, using: str) -> None:
        self.chosen = chosen
        self.using = using
        model = chosen.model
        shown = chosen.manager if using == DEFAULT_DB_ALIAS else chosen.manager.db_manager(using)
        self.shown: Any = shown
        query = shown.get_queryset().query
        self.plain: QuerySet[Any, Any] = QuerySet(model, query=query.chain(), using=using).order_by("pk")
        self.fast: QuerySet[Any, Any] = FastQuerySet(model, query=query.chain(), using=using).order_by("pk")
        self.rows = self.plain.count()

    def pairs(self) -> Iterator[Pair]:
        """Yield what can be measured of so many rows."""
        yield from self._from_the_database()
        yield from self._with_relations()
        yield from self._pages()
        if self.chosen.is_cached:
            yield from self._from_the_cache()

    def _pair(
        self, work: str, before: Callable[[], Any], way: str, after: Callable[[], Any], **more: Any
    ) -> Pair:
        before_way = more.pop("before_way", DJANGO)
        return Pair(self.chosen.label, work, before_way, before, way, after, **more)

    def _from_the_database(self) -> Iterator[Pair]:
        plain, fast = self.plain, self.fast
        keys = list(plain.values_list("pk", flat=True)[:MOST_KEYS])
        for_plain, for_fast = cycle(keys), cycle(keys)
        yield self._pair(
            "get by key",
            lambda: plain.get(pk=next(for_plain)),
            "FastQuerySet",
            lambda: fast.get(pk=next(for_fast)),
        )
        for most in (PAGE_ROWS, LONG_ROWS):
            count = min(most, self.rows)
            if most == PAGE_ROWS or count > PAGE_ROWS:
                yield self._pair(
                    f"list of {count:,}",
                    lambda count=count: list(plain[:count]),  # type: ignore[misc]  # of this round
                    "FastQuerySet",
                    lambda count=count: list(fast[:count]),  # type: ignore[misc]
                )

    def _with_relations(self) -> Iterator[Pair]:
        names = relations(self.chosen)
        if not names:
            return
        count = min(RELATED_ROWS, self.rows)
        work = f"list of {count:,} with {', '.join(names)}"
        loaded = eager(self.fast, *names)
        joined = self.plain.select_related(*names)
        for way, rows in (("lazy, N+1", self.plain), ("select_related()", joined)):
            yield self._pair(
                work,
                lambda rows=rows: touched(rows[:count], names),  # type: ignore[misc]  # of this round
                "eager()",
                lambda: touched(loaded[:count], names),
                before_way=way,
            )

    def _pages(self) -> Iterator[Pair]:
        if self.rows <= PAGE_ROWS:
            return
        # Latest first, as most lists are.
        plain, (ordered, keys) = self.plain.order_by("-pk"), keyed(self.fast.order_by("-pk"))
        yield self._pair(
            "page 1",
            lambda: list(plain[:PAGE_ROWS]),
            "cursor",
            lambda: list(ordered[:PAGE_ROWS]),
            before_way="OFFSET 0",
        )
        offset = min((self.rows - 1) // PAGE_ROWS * PAGE_ROWS, DEEPEST_ROW)
        row = ordered[offset - 1]
        vendor = connections[self.using].vendor
        [place] = after(keys, [value_of(row, key) for key in keys], vendor=vendor)
        yield self._pair(
            f"page {offset // PAGE_ROWS + 1:,}",
            lambda: list(plain[offset : offset + PAGE_ROWS]),
            "cursor",
            lambda: list(ordered.filter(place)[:PAGE_ROWS]),
            before_way=f"OFFSET {offset:,}",
        )

    def _from_the_cache(self) -> Iterator[Pair]:
        shown, plain = self.shown, self.plain
        key = plain.values_list("pk", flat=True)[0]
        count = min(PAGE_ROWS, self.rows)
        tags = tags_of_model(self.chosen.model)
        works: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
            ("get by key", lambda: plain.get(pk=key), lambda: shown.get(pk=key)),
            (f"list of {count:,}", lambda: list(plain[:count]), lambda: list(shown.order_by("pk")[:count])),
            ("count", plain.count, shown.count),
        ]
        for work, before, read in works:
            yield self._pair(
                f"{work}, cached: hit",
                before,
                "CachedManager",
                in_a_request(read),
                refusal=_other_than("hit"),
            )
            yield self._pair(
                f"{work}, cached: miss",
                before,
                "CachedManager",
                in_a_request(read),
                prepare=lambda: invalidate(tags),
                refusal=_other_than("miss"),
            )


def relations(chosen: Chosen) -> list[str]:
    """Return the relations of a model to one row each."""
    names = [
        field.name
        for field in chosen.model._meta.concrete_fields
        if field.is_relation and not field.primary_key and field.related_model is not None
    ]
    return names[:MOST_RELATIONS]


def touched(rows: QuerySet[Any, Any], names: list[str]) -> list[Any]:
    """Look at relations of each row, as a page does; return their keys."""
    keys = []
    for row in rows:
        for name in names:
            with suppress(ObjectDoesNotExist):  # a key that leads nowhere, where the database does not check
                related = getattr(row, name)
                keys.append(None if related is None else related.pk)
    return keys


def in_a_request(read: Callable[[], Any]) -> Callable[[], Any]:
    """Return what reads as the first read of a request does: the tokens are asked for."""

    def run() -> Any:
        with token_scope():
            return read()

    return run


def _other_than(wanted: str) -> Callable[[Callable[[], Any]], str]:
    def refusal(run: Callable[[], Any]) -> str:
        told: list[tuple[str, str]] = []

        def note(*, outcome: str, reason: str, **_: object) -> None:
            told.append((outcome, reason))

        cache_read.connect(note)
        try:
            run()
        finally:
            cache_read.disconnect(note)
        outcomes = {outcome for outcome, _ in told}
        if outcomes == {wanted}:
            return ""
        reasons = ", ".join(sorted({reason for _, reason in told if reason}))
        return f"the read was no {wanted} but {', '.join(sorted(outcomes)) or 'past the cache'}" + (
            f": {reasons}" if reasons else ""
        )

    return refusal
