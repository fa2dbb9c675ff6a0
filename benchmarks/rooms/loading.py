"""Room loading: lists of real flights, read uncached and asked for their relations, beside plain Django."""

from __future__ import annotations

import logging
from typing import Any, Final

from django.db.models import QuerySet

from benchmarks.figures import Report
from benchmarks.loads import loops
from benchmarks.loads.reads import Read, plain_connection, reads
from benchmarks.timetable.tables import fill_tables

PEERS: Final = ()
FLIGHTS: Final = 5_000
COUNTS: Final = (1, 10, 100, 1000)
GOALS: Final = {("flights", 1000): 1.8, ("flights with their airline", 1000): 2.0}
MOST_PER_TURN: Final = 40


def _flights(queryset: QuerySet[Any]) -> QuerySet[Any]:
    return queryset.order_by("pk")


def _with_airline(queryset: QuerySet[Any]) -> QuerySet[Any]:
    return queryset.order_by("pk").select_related("airline")


def _values(queryset: QuerySet[Any]) -> QuerySet[Any]:
    return queryset.order_by("pk").values()


def _first(count: int, read: Read) -> Read:
    return lambda queryset: read(queryset)[:count]


READS: Final[dict[str, Read]] = {
    "flights": _flights,
    "flights with their airline": _with_airline,
    "values of flights": _values,
}


def measure(*, is_quick: bool) -> Report:
    """Read lists of several lengths, Django and perfkit in turns.

    Each has a connection of its own, for perfkit leaves one on which moments are parsed faster.
    The times are those of one read, from an unevaluated queryset to a list.
    """
    logging.getLogger("perfkit.queries").disabled = True
    fill_tables(FLIGHTS)
    loops.fill_reports()
    rounds, seconds = (15, 1.0) if is_quick else (60, 4.0)
    with plain_connection():
        sections = [
            reads(
                f"{name}, {count:,} rows",
                _first(count, read),
                goal=GOALS.get((name, count)),
                times=max(1, MOST_PER_TURN // count),
                rounds=rounds,
                seconds=seconds,
            )
            for name, read in READS.items()
            for count in COUNTS
        ]
    sections += [measured(rounds=rounds, seconds=seconds) for measured in (loops.relations, loops.guard)]
    lines: list[tuple[str, ...]] = [("what is read", "us", "times Django's")]
    return Report(
        "loading",
        f"{'A quick run: ' if is_quick else ''}A table of {FLIGHTS:,} flights; "
        f"medians of at most {rounds} interleaved rounds.",
        lines + [line for section in sections for line in section.lines],
        [figure for section in sections for figure in section.figures],
    )
