"""Room functions: what functions return, beside plain calls, cacheops, cashews, dogpile and Django's cache."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Final

from django.test import override_settings

from benchmarks.cache_server import CacheServer, cache_server
from benchmarks.figures import Figure, Report
from benchmarks.loads.outside_writers import outside_writers
from benchmarks.loads.pages import pages
from benchmarks.loads.scene import Section
from benchmarks.loads.warming import warming
from benchmarks.timetable.entrants import (
    AT_FUNCTIONS,
    CACHEOPS,
    CASHEWS,
    DECLARED,
    DJANGO,
    DOGPILE,
    IN_REQUEST,
    PLAIN,
    SHARED,
    STRICT,
    Entrant,
)
from benchmarks.timetable.stage import ROUND_TRIP, Scale, Stage, stage
from benchmarks.timetable.tables import fill_tables
from benchmarks.workers import Remote

PEERS: Final = ("django-cacheops", "cashews", "dogpile.cache")
QUICK: Final = Scale(flights=10_000, crowd=0, rounds=100, budget_seconds=3, stampedes=0)
FULL: Final = Scale(flights=50_000, crowd=0, rounds=600, budget_seconds=30, stampedes=0)

AT_THE_SERVER: Final = (CACHEOPS, DJANGO, DOGPILE, CASHEWS)
"""Peers that ask the cache server at each call."""

WARM_CALLS: Final = 100
"""Of hits in a turn: with as few as of slower things, the fastest would be timed while its process wakes up."""

COLUMNS: Final = 4

Players = dict[str, Remote]


def measure(*, is_quick: bool) -> Report:
    """Time the same calls in one process per entrant, in turns, each with a cache database of its own.

    A turn is one request: perfkit asks the server once in it, where it is as nobody has set anything.
    """
    logging.getLogger("perfkit.queries").disabled = True
    scale = QUICK if is_quick else FULL
    fill_tables(scale.flights)
    with cache_server([each.cache_database for each in AT_FUNCTIONS]) as server:
        version = server.version
        with stage(server, scale, everybody=AT_FUNCTIONS, crowd=()) as played:
            figures = [*_hits(played), *_misses(played)]
            lines = played.lines
        url = server.url(SHARED.cache_database)
        for section in _in_process(server, url, is_quick=is_quick):
            lines += [_four(line) for line in section.lines]
            figures += section.figures
    setting = (
        f"{'A quick run: ' if is_quick else ''}{scale.flights:,} flights, {version}, one process per entrant; "
        "median time of a call."
    )
    return Report("functions", setting, lines, figures)


def _in_process(server: CacheServer, url: str, *, is_quick: bool) -> Iterator[Section]:
    """Measure what takes this process alone: pages, warming, and writers outside of Django."""
    rounds, seconds = (15, 2.0) if is_quick else (100, 20.0)
    cache = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}}
    server.flush([SHARED.cache_database])
    with override_settings(CACHES=cache):
        yield pages(rounds=rounds, seconds=3 * seconds)
    server.flush([SHARED.cache_database])
    yield warming(url, rounds=3 if is_quick else 9, seconds=seconds)
    yield outside_writers(rounds=rounds, budget_seconds=seconds)


def _four(line: Sequence[str]) -> tuple[str, ...]:
    """Return a line of the table in its four columns."""
    return (*line, *[""] * (COLUMNS - len(line)))


def _hits(played: Stage) -> list[Figure]:
    title = "function of five queries, kept"
    players = played.compare(
        title,
        "function hit",
        calls=WARM_CALLS,
        entrants=AT_FUNCTIONS,
        is_hit=True,
        beside={ROUND_TRIP: ("round trip", 0)},
    )
    fastest = min(AT_THE_SERVER, key=lambda each: players[each.name].median)
    return [
        _faster(f"{title}: {fastest.name}, the fastest peer", players, IN_REQUEST, fastest, 15.0),
        _faster(f"{title}: {fastest.name}, the fastest peer", players, STRICT, fastest, 1.0),
        _faster(f"{title}: {fastest.name}, the fastest peer", players, SHARED, fastest, 1.0),
        *[
            _faster(f"{title}: {each.name}", players, IN_REQUEST, each, None)
            for each in (PLAIN, *AT_THE_SERVER)
        ],
    ]


def _misses(played: Stage) -> list[Figure]:
    title = "function of five queries, missed"
    everybody: Sequence[Entrant] = (PLAIN, IN_REQUEST, DECLARED, *AT_THE_SERVER)
    players = played.compare(title, "function miss", calls=4, entrants=everybody)
    plain = players[PLAIN.name]
    misses = {each.name: players[each.name].over(plain) for each in everybody[1:]}
    recording = misses[IN_REQUEST.name] - misses[DECLARED.name]
    return [
        Figure(f"{title}: what recording adds / {PLAIN.name}", recording, "times", 0.15, "lower"),
        *[
            Figure(f"{title}: {name} / {PLAIN.name}", times, "times", None, "lower")
            for name, times in misses.items()
        ],
    ]


def _faster(title: str, players: Players, own: Entrant, than: Entrant, goal: float | None) -> Figure:
    times = players[than.name].over(players[own.name])
    return Figure(f"{title} / {own.name}", times, "times", goal, "higher")
