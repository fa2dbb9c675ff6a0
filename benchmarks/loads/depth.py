"""Pages at the beginning and deep in a list of all flights: by cursors and by OFFSET; and ways to count them."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from django.core.paginator import Paginator
from django.db.models import F, QuerySet
from django.db.models.expressions import OrderBy

from benchmarks.figures import Figure
from benchmarks.loads.scene import Section
from benchmarks.rounds import Contender, play, warm
from perfkit.api import keyset, paginate
from perfkit.api.compiling.answers import shown_of
from perfkit.api.compiling.driving import finished
from perfkit.api.counts import Counting, counted
from perfkit.paging.cursors import Place, cursor_of, fingerprint_of
from perfkit.paging.keys import keyed, value_of
from project.flights.models import Flight
from project.flights.schemas import FlightOut

PAGE_SIZE: Final = 20
DEEP_PAGE: Final = 15_000
DEEPER_GOAL: Final = 1.5
OFFSET_GOAL: Final = 100.0

RELATIONS: Final = ("airline", "origin", "destination", "plane")
ORDERS: Final[dict[str, tuple[str | OrderBy, ...]]] = {
    "by time": ("-time_hour", "-id"),
    "by airline, newest first": ("airline", "-time_hour", "-id"),
}

COUNTS: Final[tuple[Counting, ...]] = ("exact", "capped", "estimated")


def pages(name: str, *, rounds: int, seconds: float) -> Section:
    """Read the first page and a deep one of an order, in turns, with all that the flights refer to.

    Raises:
        RuntimeError: Two ways to a page do not show the same flights.
    """
    order = [F("airline_id").asc() if term == "airline" else term for term in ORDERS[name]]
    queryset = Flight._base_manager.select_related(*RELATIONS).order_by(*order)
    second, deep = (_cursor_of_page(queryset, page) for page in (2, DEEP_PAGE))
    ways: dict[str, Callable[[], list[Any]]] = {
        "page 1, compiled": lambda: _compiled(queryset, None),
        "page 2, compiled": lambda: _compiled(queryset, second),
        f"page {DEEP_PAGE:,}, compiled": lambda: _compiled(queryset, deep),
        "page 1, keyset()": lambda: keyset(queryset, None, PAGE_SIZE).items,
        f"page {DEEP_PAGE:,}, keyset()": lambda: keyset(queryset, deep, PAGE_SIZE).items,
        f"page {DEEP_PAGE:,}, OFFSET": lambda: list(_slice(queryset, DEEP_PAGE)),
        f"page {DEEP_PAGE:,}, Paginator": lambda: list(Paginator(queryset, PAGE_SIZE).page(DEEP_PAGE)),
        f"page {DEEP_PAGE:,}, paginate()": lambda: paginate(queryset, DEEP_PAGE, PAGE_SIZE).items,
    }
    expected = [row.pk for row in _slice(queryset, DEEP_PAGE)]
    for way, read in ways.items():
        shown = [row["id"] if isinstance(row, dict) else row.pk for row in read()]
        if way.startswith(f"page {DEEP_PAGE:,}") and shown != expected:
            raise RuntimeError(f"{way} shows other flights.")
    contenders = [Contender(way, warm(read), lambda: None) for way, read in ways.items()]
    play(contenders, rounds=rounds, budget_seconds=seconds)
    first, second_compiled, deep_compiled, first_keyset, deep_keyset, by_offset, *_ = contenders
    deeper, offset = f"{name}: page {DEEP_PAGE:,} / page", f"{name}: page {DEEP_PAGE:,}, OFFSET"
    return Section(
        _lines(f"flights {name}", contenders, first),
        [
            Figure(f"{deeper} 1, keyset()", _times(deep_keyset, first_keyset), "times", DEEPER_GOAL, "lower"),
            Figure(
                f"{deeper} 2, compiled", _times(deep_compiled, second_compiled), "times", DEEPER_GOAL, "lower"
            ),
            # Where nothing stands before the page, the statement has no values by which PostgreSQL plans anew.
            Figure(f"{deeper} 1, compiled", _times(deep_compiled, first), "times", None, "lower"),
            Figure(f"{offset} / compiled", _times(by_offset, deep_compiled), "times", OFFSET_GOAL, "higher"),
            Figure(f"{offset} / keyset()", _times(by_offset, deep_keyset), "times", None, "higher"),
        ],
    )


def _compiled(queryset: QuerySet[Any], cursor: str | None) -> list[Any]:
    """Return the page as a route with `KeysetPagination` shows it."""
    shown = shown_of(queryset, FlightOut, dialect="values")
    return finished(shown.keyset(queryset, cursor, PAGE_SIZE, scope="")).items


def counts(*, rounds: int, seconds: float) -> Section:
    """Count all flights of the year in turns, as pages may."""
    queryset = Flight._base_manager.filter(distance__gt=0)
    contenders = [
        Contender(f"count, {how}", warm(partial(counted, queryset, how)), lambda: None) for how in COUNTS
    ]
    play(contenders, rounds=rounds, budget_seconds=seconds)
    exact, *others = contenders
    return Section(
        _lines("flights", contenders, exact),
        [
            Figure(f"flights: {exact.name} / {each.name}", _times(exact, each), "times", None, "higher")
            for each in others
        ],
    )


def _slice(queryset: QuerySet[Any], page: int) -> QuerySet[Any]:
    return queryset[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]


def _cursor_of_page(queryset: QuerySet[Any], page: int) -> str:
    """Return the cursor that the page before would give."""
    ordered, keys = keyed(queryset)
    last = ordered[(page - 1) * PAGE_SIZE - 1]
    place = Place(is_backward=False, values=tuple(value_of(last, key) for key in keys))
    return cursor_of(place, fingerprint=fingerprint_of(queryset.model._meta.label, keys, ""))


def _times(each: Contender, other: Contender) -> float:
    """Return how many times as long one takes as the other, by the median of the rounds."""
    return statistics.median(theirs / mine for mine, theirs in zip(each.rates, other.rates, strict=True))


def _lines(title: str, contenders: list[Contender], beside: Contender) -> list[tuple[str, ...]]:
    return [
        (f"{title}: {each.name}", f"{1e3 / each.rate:,.2f}", f"{_times(each, beside):.2f}")
        for each in contenders
    ]
