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
from benchmarks.rounds import Contender, play
from perfkit.api import keyset, paginate
from perfkit.api.counts import Counting, counted
from perfkit.paging.cursors import Place, cursor_of, fingerprint_of
from perfkit.paging.keys import keyed, value_of
from project.flights.models import Flight

PAGE_SIZE: Final = 20
DEEP_PAGE: Final = 15_000
DEEPER_GOAL: Final = 1.5
OFFSET_GOAL: Final = 100.0

ORDERS: Final[dict[str, tuple[str | OrderBy, ...]]] = {
    "by time": ("-time_hour", "-id"),
    "by airline, newest first": ("airline", "-time_hour", "-id"),
}

COUNTS: Final[tuple[Counting, ...]] = ("exact", "capped", "estimated")


def pages(name: str, *, rounds: int, seconds: float) -> Section:
    """Read the first page and a deep one of an order, in turns, with the flights' airlines.

    Raises:
        RuntimeError: Two ways to a page do not show the same flights.
    """
    order = [F("airline_id").asc() if term == "airline" else term for term in ORDERS[name]]
    queryset = Flight._base_manager.select_related("airline").order_by(*order)
    deep = _cursor_of_page(queryset, DEEP_PAGE)
    ways: dict[str, Callable[[], list[Any]]] = {
        "page 1, keyset": lambda: keyset(queryset, None, PAGE_SIZE).items,
        f"page {DEEP_PAGE:,}, keyset": lambda: keyset(queryset, deep, PAGE_SIZE).items,
        f"page {DEEP_PAGE:,}, OFFSET": lambda: list(_slice(queryset, DEEP_PAGE)),
        f"page {DEEP_PAGE:,}, Paginator": lambda: list(Paginator(queryset, PAGE_SIZE).page(DEEP_PAGE)),
        f"page {DEEP_PAGE:,}, paginate()": lambda: paginate(queryset, DEEP_PAGE, PAGE_SIZE).items,
    }
    expected = [row.pk for row in _slice(queryset, DEEP_PAGE)]
    for way, read in list(ways.items())[1:]:
        if [row.pk for row in read()] != expected:
            raise RuntimeError(f"{way} shows other flights.")
    contenders = [Contender(way, partial(_once, read), lambda: None) for way, read in ways.items()]
    play(contenders, rounds=rounds, budget_seconds=seconds)
    first, deep_keyset, by_offset, *_ = contenders
    return Section(
        _lines(f"flights {name}", contenders, first),
        [
            Figure(
                f"{name}: page {DEEP_PAGE:,} / page 1, keyset",
                _times(deep_keyset, first),
                "times",
                DEEPER_GOAL,
                "lower",
            ),
            Figure(
                f"{name}: page {DEEP_PAGE:,}, OFFSET / keyset",
                _times(by_offset, deep_keyset),
                "times",
                OFFSET_GOAL,
                "higher",
            ),
        ],
    )


def counts(*, rounds: int, seconds: float) -> Section:
    """Count all flights of the year in turns, as pages may."""
    queryset = Flight._base_manager.filter(distance__gt=0)
    contenders = [
        Contender(f"count, {how}", partial(_counted, queryset, how), lambda: None) for how in COUNTS
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


def _once(read: Callable[[], object]) -> int:
    read()
    return 1


def _counted(queryset: QuerySet[Any], how: Counting) -> int:
    counted(queryset, how)
    return 1


def _times(each: Contender, other: Contender) -> float:
    """Return how many times as long one takes as the other, by the median of the rounds."""
    return statistics.median(theirs / mine for mine, theirs in zip(each.rates, other.rates, strict=True))


def _lines(title: str, contenders: list[Contender], beside: Contender) -> list[tuple[str, ...]]:
    return [
        (f"{title}: {each.name}", f"{1e3 / each.rate:,.2f}", f"{_times(each, beside):.2f}")
        for each in contenders
    ]
