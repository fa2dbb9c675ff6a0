"""Entries made by `warm`, and by asking for them one by one, in turns on an empty cache."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from django.db.models import Avg, Count
from django.test import override_settings

from benchmarks.figures import Figure
from benchmarks.loads.scene import Section
from benchmarks.rounds import Contender, play
from perfkit.bulk import bulk_insert
from perfkit.caching import Answer, cached, warm, warmer
from perfkit.caching.memory import memory
from perfkit.caching.store import current_store
from perfkit.caching.warming import warmers
from perfkit.conf import configured
from project.flights.models import Plane

ENTRIES: Final = 10_000
JOBS: Final = 4
NAME: Final = "what is measured"


def warming(url: str, *, rounds: int, seconds: float) -> Section:
    """Warm rows, calls and lists, in turns with asking for each of them.

    Args:
        url: Of a database of a cache server that is the benchmark's alone.
        seconds: For each of the four.
    """
    fill_planes()
    cache = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}
    patient = {**configured(), "CACHE_TIMEOUT": 5.0}  # a busy machine is no outage
    with override_settings(CACHES={"default": cache}, PERFKIT=patient):
        sections = [load(rounds=rounds, seconds=seconds) for load in (rows, quick_calls, slow_calls, lists)]
    return Section(
        [("made ahead", "entries a second", "times one by one")]
        + [line for section in sections for line in section.lines],
        [figure for section in sections for figure in section.figures],
    )


def fill_planes() -> None:
    """Add planes of made-up tail numbers to the real ones, until there are as many as entries."""
    model = dict(Plane.objects.order_by("pk").values()[0])
    missing = ENTRIES - Plane.objects.count()
    bulk_insert(Plane, (model | {"tailnum": f"B{number:05}"} for number in range(missing)))


@cached("benchmark:plane:{tailnum}", ttl=3600)
def described(tailnum: str) -> dict[str, Any]:
    """Return what is known of a plane: one row by its key."""
    return dict(Plane.objects.uncached().values().get(pk=tailnum))


@cached("benchmark:age:{year}:{engines}", ttl=3600)
def built_in(year: int, engines: int) -> dict[str, Any]:
    """Return how many planes of a year there are, and of what size: a walk through the whole table."""
    planes = Plane.objects.uncached().filter(year=year, engines=engines)
    return planes.aggregate(planes=Count("pk"), models=Count("model", distinct=True), seats=Avg("seats"))


def rows(*, rounds: int, seconds: float) -> Section:
    """Warm 10,000 rows by their keys, and get each of them."""
    keys = list(Plane.objects.uncached().order_by("pk").values_list("pk", flat=True)[:ENTRIES])

    def one_by_one() -> int:
        for key in keys:
            Plane.objects.get(pk=key)
        return len(keys)

    return _measured(
        "10,000 rows by key",
        one_by_one,
        Plane.objects.all,
        goal=5.0,
        rounds=rounds,
        seconds=seconds,
    )


def quick_calls(*, rounds: int, seconds: float) -> Section:
    """Warm calls of a function that reads one row, and make each of them."""
    keys = list(Plane.objects.uncached().order_by("pk").values_list("pk", flat=True)[:2000])

    def one_by_one() -> int:
        for key in keys:
            described(key)
        return len(keys)

    return _measured(
        "2,000 calls of a quick function",
        one_by_one,
        lambda: (partial(described, key) for key in keys),
        goal=None,
        rounds=rounds,
        seconds=seconds,
    )


def slow_calls(*, rounds: int, seconds: float) -> Section:
    """Warm calls of a function that walks through a table, and make each of them."""
    calls = [(year, engines) for year in range(1956, 2016) for engines in (1, 2, 3, 4)]

    def one_by_one() -> int:
        for year, engines in calls:
            built_in(year, engines)
        return len(calls)

    return _measured(
        f"{len(calls)} calls of a slow function",
        one_by_one,
        lambda: (partial(built_in, *arguments) for arguments in calls),
        goal=None,
        rounds=rounds,
        seconds=seconds,
    )


def lists(*, rounds: int, seconds: float) -> Section:
    """Warm lists of planes, and ask for each of them."""
    years = range(1956, 2016)

    def one_by_one() -> int:
        for year in years:
            list(Plane.objects.filter(year=year).order_by("pk")[:20])
        return len(years)

    return _measured(
        f"{len(years)} lists of 20 rows",
        one_by_one,
        lambda: (Answer(Plane.objects.filter(year=year).order_by("pk")[:20]) for year in years),
        goal=None,
        rounds=rounds,
        seconds=seconds,
    )


def _measured(
    title: str,
    one_by_one: Callable[[], int],
    wanted: Callable[[], Any],
    *,
    goal: float | None,
    rounds: int,
    seconds: float,
) -> Section:
    """Ask for entries one by one, and have them warmed by one thread and by several, all in turns.

    Args:
        goal: How many times faster one thread that warms must be.
    """
    with _only(wanted):
        asked = Contender("one by one", one_by_one, _emptied)
        warming = [
            Contender(f"warm, {jobs} jobs" if jobs > 1 else "warm", partial(_warmed, jobs), _emptied)
            for jobs in (1, JOBS)
        ]
        play([asked, *warming], rounds=rounds, budget_seconds=seconds)
    lines: list[tuple[str, ...]] = [(f"{title}: one by one", f"{asked.rate:,.0f}", "1.00")]
    figures = []
    for contender in warming:
        # Those of one round were measured next to each other, on a machine that is as busy.
        ratio = _median_ratio(contender.rates, asked.rates)
        lines.append((f"{title}: {contender.name}", f"{contender.rate:,.0f}", f"{ratio:.2f}"))
        figures.append(
            Figure(
                f"{title}: {contender.name} / one by one",
                ratio,
                "times",
                goal if contender is warming[0] else None,
                "higher",
            )
        )
    return Section(lines, figures)


def _median_ratio(mine: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(mine, theirs, strict=True))


@contextmanager
def _only(wanted: Callable[[], Any]) -> Iterator[None]:
    """Register one warmer as long as something is measured."""
    warmer(NAME)(wanted)
    try:
        yield
    finally:
        del warmers._warmers[NAME]


def _warmed(jobs: int) -> int:
    [result] = warm([NAME], jobs=jobs)
    if result.error or result.entries != result.wanted:
        raise RuntimeError(f"Not everything was warmed: {result}")
    return result.entries


def _emptied() -> None:
    store = current_store()
    assert store is not None
    store.clear()
    memory.clear()
