"""Rows that are asked for their relations one by one, without and with autoload; and what the guard costs."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from benchmarks.figures import Figure
from benchmarks.loads.scene import Section
from benchmarks.rounds import Contender, play
from perfkit.bulk import bulk_insert
from perfkit.conf import configured
from perfkit.loading import autoload, n_plus_one_guard
from project.flights.models import Airline, Airport, Flight, Plane, StatusReport, Weather

ROWS: Final = 1000
REPORTS: Final = 3
QUERIES: Final = 20

Touch = Callable[[QuerySet[Flight]], Any]


def fill_reports() -> None:
    """Give each of the first flights some reports."""
    author = User.objects.create_user("benchmark")
    flights = Flight.objects.order_by("pk").values_list("pk", flat=True)[:ROWS]
    rows = [
        {
            "flight_id": flight,
            "author_id": author.pk,
            "kind": StatusReport.Kind.DELAY,
            "delay_minutes": minutes,
        }
        for flight in flights
        for minutes in range(5, 5 + REPORTS)
    ]
    bulk_insert(StatusReport, rows)


def touched_naively(flights: QuerySet[Flight]) -> int:
    """Ask each flight for its airline and its reports."""
    total = 0
    for flight in flights:
        total += len(flight.airline.name)
        for report in flight.reports.all():
            total += report.delay_minutes or 0
    return total


ONE_OF_MANY: Final[dict[str, Touch]] = {
    "its airline": lambda flights: list(flights)[ROWS // 2].airline.name,
    "its reports": lambda flights: len(list(flights)[ROWS // 2].reports.all()),
    "the number of its reports": lambda flights: list(flights)[ROWS // 2].reports.count(),
}


def relations(*, rounds: int, seconds: float) -> Section:
    """Touch relations of a list, of all rows and of one, in turns without and with autoload."""
    plain: QuerySet[Flight] = QuerySet(Flight).order_by("pk")[:ROWS]
    lines, ratio = _in_turns(
        "all airlines and reports", touched_naively, plain, rounds=rounds, seconds=seconds
    )
    queries = _queries(lambda: touched_naively(autoload(plain)))
    figures = [
        Figure(
            f"{ROWS:,} rows, airline and reports touched: Django / autoload", ratio, "times", 20, "higher"
        ),
        Figure(f"{ROWS:,} rows, airline and reports touched: autoload", queries, "queries", 3, "lower"),
    ]
    for name, touch in ONE_OF_MANY.items():
        more, ratio = _in_turns(f"one row, {name}", touch, plain, rounds=rounds, seconds=seconds)
        lines += more
        figures.append(
            Figure(f"1 of {ROWS:,} rows, {name} touched: autoload / Django", 1 / ratio, "times", 2, "lower")
        )
    return Section(lines, figures)


def guard(*, rounds: int, seconds: float) -> Section:
    """Answer a request of twenty queries, of twenty rows each, with and without the guard."""
    querysets = [
        model.objects.filter(pk__isnull=False).order_by(field.name)[:20]
        for model in (Airline, Airport, Plane, Flight, Weather)
        for field in model._meta.concrete_fields
    ][:QUERIES]

    def view(_: HttpRequest) -> HttpResponse:
        for queryset in querysets:
            list(queryset.all())
        return HttpResponse()

    handle: Any = n_plus_one_guard(view)
    request = HttpRequest()

    def answering(mode: str) -> Callable[[], int]:
        def run() -> int:
            with override_settings(PERFKIT={**configured(), "N_PLUS_ONE_MODE": mode}):
                for _ in range(10):
                    handle(request)
            return 10

        return run

    contenders = [Contender(mode, answering(mode), lambda: None) for mode in ("off", "log")]
    play(contenders, rounds=rounds, budget_seconds=seconds)
    off, log = contenders
    shares = [without / having - 1 for without, having in zip(off.rates, log.rates, strict=True)]
    share = statistics.median(shares)
    microseconds = share / off.rate / QUERIES * 1e6
    return Section(
        [
            (
                f"a request of {QUERIES} queries, guard {each.name}",
                f"{1e6 / each.rate:,.0f}",
                f"{each.rate / off.rate:.2f}",
            )
            for each in contenders
        ],
        [
            Figure("the guard, for each query", microseconds, "us", 20, "lower"),
            Figure(f"the guard, of a request of {QUERIES} queries", share * 100, "%", 3, "lower"),
        ],
    )


def _in_turns(
    title: str, touch: Touch, plain: QuerySet[Flight], *, rounds: int, seconds: float
) -> tuple[list[tuple[str, ...]], float]:
    """Return the lines of the table, and how many times faster autoload is."""
    if touch(plain.all()) != touch(autoload(plain)):
        raise RuntimeError(f"{title}: autoload answers otherwise than Django.")

    def once(make: Callable[[], QuerySet[Flight]]) -> Callable[[], int]:
        def run() -> int:
            touch(make())
            return 1

        return run

    contenders = [
        Contender("Django", once(plain.all), lambda: None),
        Contender("autoload", once(lambda: autoload(plain)), lambda: None),
    ]
    play(contenders, rounds=rounds, budget_seconds=seconds)
    django, own = contenders
    ratio = statistics.median(mine / theirs for mine, theirs in zip(own.rates, django.rates, strict=True))
    lines: list[tuple[str, ...]] = [
        (f"{title}: {each.name}", f"{1e6 / each.rate:,.0f}", f"{each.rate / django.rate:.2f}")
        for each in contenders
    ]
    return lines, ratio


def _queries(run: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        run()
    return len(captured)
