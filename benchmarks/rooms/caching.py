"""Room caching: reads and writes of the flights beside plain Django, django-cacheops and django-cachalot."""

from __future__ import annotations

import logging
import time
from itertools import islice
from typing import Final

from django.db import connection

from benchmarks.cache_server import CacheServer, cache_server
from benchmarks.figures import Figure, Report
from benchmarks.timetable.stage import (
    BETWEEN_GETS,
    CACHE_DATABASES,
    CROWDED_DATABASES,
    ROUND_TRIP,
    Scale,
    Stage,
    contender,
    prepared,
    stage,
)
from benchmarks.workers import Remote
from perfkit.bulk import bulk_insert
from project.flights import source
from project.flights.models import Airline, Airport, Flight, Plane, Weather

PEERS: Final = ("django-cacheops", "django-cachalot")
QUICK: Final = Scale(flights=10_000, crowd=1_000, rounds=100, budget_seconds=1.5, stampedes=1)
FULL: Final = Scale(flights=50_000, crowd=10_000, rounds=400, budget_seconds=20, stampedes=5)
FEW_KEYS: Final = 10
MANY_ROWS: Final = 1000
PROCESSES: Final = 8
RECOVERS_SECONDS: Final = 10
SLOW_VIEW: Final = """
CREATE VIEW benchmark_slow_airline AS
WITH pause AS MATERIALIZED (SELECT pg_sleep(0.2)) SELECT code, name FROM flights_airline, pause
"""


def measure(*, is_quick: bool) -> Report:
    """Time the same jobs in one process per contender, in turns, each with a cache database of its own.

    The peers patch Django for all models, so none of them may share a process with another.
    The column "queries" counts the statements of one call after the preparation: a hit sends none.
    Ratios and differences are the medians of those of each round, and may differ a little from what the
    medians in the table give.
    """
    logging.getLogger("perfkit.queries").disabled = True
    scale = QUICK if is_quick else FULL
    _load(scale.flights)
    with cache_server([*CACHE_DATABASES.values(), *CROWDED_DATABASES.values()]) as server:
        with stage(server, scale) as played:
            figures = [
                *_hits(played),
                *_misses(played),
                *_writes(played),
                *_crowds(played),
                *_uncached(played),
                *_outage(played),
            ]
        lines = played.lines
        figures += _stampedes(server, scale.stampedes)
        version = server.version
    setting = (
        f"{scale.flights:,} flights, {version}, one process per contender; median time of a call, commits that "
        "do not wait for the disk."
    )
    return Report("caching", setting, lines, figures)


def _load(flights: int) -> None:
    for model, rows in (
        (Airline, source.airlines()),
        (Airport, source.airports()),
        (Plane, source.planes()),
        (Flight, islice(source.flights(source.Dirt()), flights)),
        (Weather, islice(source.weather(), flights)),
    ):
        bulk_insert(model, rows)
    with connection.cursor() as cursor:
        cursor.execute(SLOW_VIEW)
        cursor.execute("VACUUM ANALYZE")


def _hits(played: Stage) -> list[Figure]:
    entry_bytes = _entry_bytes(played)
    one = played.compare(
        "get by key, hit", "get hit", calls=30, beside={ROUND_TRIP: ("round trip", entry_bytes)}
    )
    page = played.compare("20 rows with a join, hit", "page hit", calls=6)
    many = played.compare(f"{MANY_ROWS:,} rows, hit", "many hit", calls=3, amount=MANY_ROWS)
    return [
        # A read answered within the process, which asks no server, has the goal 50 here.
        _faster("get hit", one, "cacheops", None),
        _faster("get hit", one, "plain", None),
        Figure(
            "get hit, beyond one round trip",
            one["perfkit"].beyond(one[ROUND_TRIP]) * 1e6,
            "us",
            100.0,
            "lower",
        ),
        _faster("20 rows with a join, hit", page, "cacheops", 3.0),
        _faster("20 rows with a join, hit", page, "plain", None),
        _faster("1,000 rows, hit", many, "cacheops", 2.5),
        _faster("1,000 rows, hit", many, "plain", None),
    ]


def _entry_bytes(played: Stage) -> int:
    """Return how long perfkit's entry of one flight is."""
    database = CACHE_DATABASES["perfkit"]
    played.server.flush([database])
    Remote(played.workers["perfkit"], "get hit", 1).prepare(0)
    return played.server.longest_value(database)


def _misses(played: Stage) -> list[Figure]:
    one = played.compare("get by key, miss", "get miss", calls=15)
    page = played.compare("20 rows with a join, miss", "page miss", calls=6)
    return [_slower("get miss", one, 1.35), _slower("20 rows with a join, miss", page, 1.35)]


def _writes(played: Stage) -> list[Figure]:
    saved = played.compare(
        "save of a tracked row",
        "save",
        calls=10,
        amount=FEW_KEYS,
        beside={ROUND_TRIP: ("round trip", 0), BETWEEN_GETS: ("save between two GETs", FEW_KEYS)},
    )
    own = saved["perfkit"]
    added = own.beyond(saved["plain"]) - 2 * saved[ROUND_TRIP].median
    return [
        Figure("save, beyond plain and two round trips", added * 1e6, "us", 100.0, "lower"),
        Figure(
            "save, beyond plain between two GETs", own.beyond(saved[BETWEEN_GETS]) * 1e6, "us", None, "lower"
        ),
    ]


def _crowds(played: Stage) -> list[Figure]:
    """Save with few and with very many cached keys of the table, in two processes that take turns."""
    crowd = played.scale.crowd
    played.server.flush([*CACHE_DATABASES.values(), *CROWDED_DATABASES.values()])
    players: dict[str, Remote] = {}
    queries: dict[str, int] = {}
    for name in CROWDED_DATABASES:
        for keys, workers in ((FEW_KEYS, played.workers), (crowd, played.crowded)):
            players[f"{name}, {keys:,} keys"] = player = Remote(workers[name], "save", 10)
            queries |= prepared({f"{name}, {keys:,} keys": player}, keys)
    played.play("save of a tracked row, with so many keys of its table cached", players, queries)
    return [
        Figure(
            f"save with {crowd:,} cached keys / with {FEW_KEYS}, {name}",
            players[f"{name}, {crowd:,} keys"].over(players[f"{name}, {FEW_KEYS:,} keys"]),
            "times",
            1.2 if name == "perfkit" else None,
            "lower",
        )
        for name in CROWDED_DATABASES
    ]


def _uncached(played: Stage) -> list[Figure]:
    write = played.compare("save of an untracked row", "uncached write", calls=15)
    read = played.compare("uncached query", "uncached read", calls=15)
    return [_slower("save of an untracked row", write, 1.03), _slower("uncached query", read, 1.03)]


def _outage(played: Stage) -> list[Figure]:
    """Read and save while the cache server is stopped, and time the first calls that find it out."""
    if not played.server.is_own:
        return []  # a lent server is not stopped
    figures = []
    for title, job, calls in (("get by key", "get hit", 15), ("save", "save", 10)):
        played.server.flush(list(CACHE_DATABASES.values()))
        players = {name: Remote(played.workers[name], job, calls) for name in ("plain", "perfkit")}
        prepared(players, FEW_KEYS)
        with played.server.hanging():
            hanging_ms = players["perfkit"].once().seconds * 1000
        _await_recovery(played)
        with played.server.stopped():
            stopped_ms = players["perfkit"].once().seconds * 1000
            queries = {name: each.once().queries for name, each in players.items()}
            played.play(f"{title}, the server stopped", players, queries)
        _await_recovery(played)
        figures += [
            _slower(f"{title} with the server stopped", players, 1.05),
            Figure(f"first {title} after the server stopped", stopped_ms, "ms", 100.0, "lower"),
            Figure(f"first {title} after the server began to hang", hanging_ms, "ms", 100.0, "lower"),
        ]
    return figures


def _await_recovery(played: Stage) -> None:
    """Wait until reads are hits again."""
    reader = Remote(played.workers["perfkit"], "get hit", 1)
    deadline = time.monotonic() + RECOVERS_SECONDS
    while prepared({"perfkit": reader}, 0)["perfkit"]:
        if time.monotonic() > deadline:
            raise RuntimeError("Reads have not become hits again after the cache server came back.")
        time.sleep(0.1)


def _stampedes(server: CacheServer, times: int) -> list[Figure]:
    """Let processes miss one slow row together, and count how often the database is asked for it, at worst."""
    figures = []
    for name, goal in (("perfkit", 1.0), ("cacheops", None)):
        database = CACHE_DATABASES[name]
        asked = []
        with contender(name, server.url(database)) as worker:
            for _ in range(times):
                server.flush([database])
                asked.append(worker.ask(do="together", job="slow get", processes=PROCESSES)["queries"])
        title = f"one slow row that {PROCESSES} processes miss together, {name}"
        figures.append(Figure(title, max(asked), "queries", goal, "lower"))
    return figures


def _faster(title: str, players: dict[str, Remote], than: str, goal: float | None) -> Figure:
    return Figure(
        f"{title}, {than} / perfkit", players[than].over(players["perfkit"]), "times", goal, "higher"
    )


def _slower(title: str, players: dict[str, Remote], goal: float) -> Figure:
    return Figure(
        f"{title}, perfkit / plain", players["perfkit"].over(players["plain"]), "times", goal, "lower"
    )
