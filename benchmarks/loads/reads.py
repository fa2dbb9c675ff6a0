"""The same list read with Django's queryset and with perfkit's, each on a connection of its own."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.db import connections
from django.db.models import QuerySet

from benchmarks.figures import Figure
from benchmarks.loads.scene import Section
from benchmarks.rounds import Contender, play
from perfkit.loading import FastQuerySet
from project.flights.models import Flight

PLAIN: Final = "plain"
"""A connection that perfkit never reads from, and so leaves as Django makes it."""

Read = Callable[[QuerySet[Any]], QuerySet[Any]]


@contextmanager
def plain_connection() -> Iterator[None]:
    """Open a second connection to the benchmark's database."""
    connections.databases[PLAIN] = copy.deepcopy(connections.databases["default"])
    try:
        yield
    finally:
        connections[PLAIN].close()
        del connections[PLAIN]
        del connections.databases[PLAIN]


def reads(title: str, read: Read, *, goal: float | None, times: int, rounds: int, seconds: float) -> Section:
    """Read a list in turns, and say how many times faster perfkit is.

    Args:
        read: Makes the queryset of one that has all flights.
        times: So often in one turn, so that a turn is long enough to be timed.
    """
    querysets = [read(QuerySet(Flight, using=PLAIN)), read(FastQuerySet(Flight))]
    django, fast = [list(queryset.all()) for queryset in querysets]
    if django != fast:
        raise RuntimeError(f"{title}: perfkit reads other rows than Django.")
    names = ("Django", "perfkit")
    contenders = [
        Contender(name, _repeated(queryset, times), lambda: None)
        for name, queryset in zip(names, querysets, strict=True)
    ]
    play(contenders, rounds=rounds, budget_seconds=seconds)
    plain, own = contenders
    # Those of one round were measured next to each other, on a machine that is as busy.
    ratio = statistics.median(mine / theirs for mine, theirs in zip(own.rates, plain.rates, strict=True))
    return Section(
        [
            (f"{title}: {each.name}", f"{1e6 / each.rate:,.0f}", f"{each.rate / plain.rate:.2f}")
            for each in contenders
        ],
        [Figure(f"{title}: Django / perfkit", ratio, "times", goal, "higher")],
    )


def _repeated(queryset: QuerySet[Any], times: int) -> Callable[[], int]:
    def run() -> int:
        for _ in range(times):
            list(queryset.all())
        return times

    return run
