"""Room caching: reads and writes of the flights beside plain Django, django-cacheops and django-cachalot."""

from __future__ import annotations

import logging
import time
from typing import Final

from benchmarks.cache_server import CacheServer, cache_server
from benchmarks.figures import Figure, Report
from benchmarks.timetable.entrants import (
    CACHALOT,
    CACHE_DATABASES,
    CACHEOPS,
    CROWDED,
    EVERYBODY,
    IN_REQUEST,
    PLAIN,
    SHARED,
    STRICT,
    Entrant,
)
from benchmarks.timetable.stage import BETWEEN_GETS, PLAIN_AGAIN, ROUND_TRIP, Scale, Stage, prepared, stage
from benchmarks.timetable.tables import fill_tables
from benchmarks.workers import Remote

PEERS: Final = ("django-cacheops", "django-cachalot")
QUICK: Final = Scale(flights=10_000, crowd=1_000, rounds=100, budget_seconds=3, stampedes=1)
FULL: Final = Scale(flights=50_000, crowd=10_000, rounds=600, budget_seconds=30, stampedes=5)
FEW_KEYS: Final = 10
MANY_ROWS: Final = 1000
PROCESSES: Final = 8
RECOVERS_SECONDS: Final = 10

Players = dict[str, Remote]


def measure(*, is_quick: bool) -> Report:
    """Time the same jobs in one process per entrant, in turns, each with a cache database of its own.

    The peers patch Django for all models, so none of them may share a process with another.
    The column "queries" counts the statements of one call after the preparation: a hit sends none.
    Ratios and differences are the medians of those of each round, and may differ a little from what the
    medians in the table give.
    """
    logging.getLogger("perfkit.queries").disabled = True
    scale = QUICK if is_quick else FULL
    fill_tables(scale.flights)
    with cache_server(CACHE_DATABASES) as server, stage(server, scale) as played:
        figures = [
            *_gets(played),
            *_pages(played),
            *_lists(played),
            *_misses(played),
            *_writes(played),
            *_crowds(played),
            *_uncached(played),
            *_stampedes(server, scale.stampedes),
            *_outage(played),
        ]
        version = server.version
    setting = (
        f"{'A quick run: ' if is_quick else ''}{scale.flights:,} flights, {version}, one process per entrant; "
        "median time of a call, commits that do not wait for the disk."
    )
    return Report("caching", setting, played.lines, figures)


def _gets(played: Stage) -> list[Figure]:
    one = played.compare(
        "get by key",
        "get hit",
        calls=30,
        entrants=EVERYBODY,
        is_hit=True,
        beside={ROUND_TRIP: ("round trip", _entry_bytes(played))},
    )
    unique = played.compare(
        "get by a unique field", "get unique hit", calls=30, entrants=EVERYBODY, is_hit=True
    )
    return [
        _faster("get by key", one, IN_REQUEST, CACHEOPS, 50.0),
        _faster("get by key", one, IN_REQUEST, PLAIN, None),
        _beyond_a_trip("get by key", one, STRICT, 60.0),
        _beyond_a_trip("get by key", one, SHARED, 100.0),
        _faster("get by a unique field", unique, IN_REQUEST, CACHEOPS, None),
        _faster("get by a unique field", unique, SHARED, CACHEOPS, None),
    ]


def _entry_bytes(played: Stage) -> int:
    """Return how long perfkit's entry of one flight is."""
    played.server.flush([SHARED.cache_database])
    played.player(SHARED, "get hit").prepare(0)
    return played.server.longest_value(SHARED.cache_database)


def _pages(played: Stage) -> list[Figure]:
    title = "20 rows with a join"
    page = played.compare(title, "page hit", calls=6, entrants=EVERYBODY, is_hit=True)
    declared = played.compare(f"{title}, declared", "page declared", calls=6, entrants=EVERYBODY, is_hit=True)
    return [
        _faster(title, page, IN_REQUEST, CACHEOPS, 5.0),
        _faster(title, page, SHARED, CACHEOPS, 3.0),
        _faster(title, page, IN_REQUEST, PLAIN, None),
        _faster(f"{title}, declared", declared, IN_REQUEST, CACHEOPS, 15.0),
        _faster(f"{title}, declared", declared, SHARED, CACHEOPS, None),
    ]


def _lists(played: Stage) -> list[Figure]:
    title = f"{MANY_ROWS:,} rows"
    many = played.compare(title, "many hit", calls=3, amount=MANY_ROWS, entrants=EVERYBODY, is_hit=True)
    board_title = "20 rows by a declared column, after a save of another row"
    board = played.compare(board_title, "board after save", calls=6, entrants=EVERYBODY)
    return [
        _faster(title, many, IN_REQUEST, CACHEOPS, 5.0),
        _faster(title, many, SHARED, CACHEOPS, 2.5),
        _faster(title, many, IN_REQUEST, PLAIN, None),
        _faster(board_title, board, IN_REQUEST, CACHEOPS, None),
        _faster(board_title, board, IN_REQUEST, CACHALOT, None),
    ]


def _misses(played: Stage) -> list[Figure]:
    figures = []
    for title, job, calls in (
        ("get by key, missed", "get miss", 15),
        ("20 rows with a join, missed", "page miss", 6),
    ):
        missed = played.compare(title, job, calls=calls)
        figures += [
            _slower(title, missed, IN_REQUEST, 1.35),
            _slower(title, missed, CACHEOPS, None),
            _slower(title, missed, CACHALOT, None),
        ]
    return figures


def _writes(played: Stage) -> list[Figure]:
    title = "save of a tracked row"
    saved = played.compare(
        title,
        "save",
        calls=10,
        amount=FEW_KEYS,
        beside={ROUND_TRIP: ("round trip", 0), BETWEEN_GETS: ("save between two GETs", FEW_KEYS)},
    )
    own = saved[IN_REQUEST.name]
    among = own.beyond(saved[BETWEEN_GETS])
    in_a_row = own.beyond(saved[PLAIN.name]) - 2 * saved[ROUND_TRIP].median
    return [
        Figure(f"{title}: beyond plain between two GETs", among * 1e6, "us", 100.0, "lower"),
        Figure(f"{title}: beyond plain and two GETs of many in a row", in_a_row * 1e6, "us", None, "lower"),
        _slower(title, saved, IN_REQUEST, None),
        _slower(title, saved, CACHEOPS, None),
        _slower(title, saved, CACHALOT, None),
    ]


def _crowds(played: Stage) -> list[Figure]:
    """Save with few and with very many cached keys of the table, in two processes that take turns."""
    crowd = played.scale.crowd
    played.server.flush(CACHE_DATABASES)
    players: Players = {}
    queries: dict[str, int] = {}
    for entrant in CROWDED:
        for keys, workers in ((FEW_KEYS, played.workers), (crowd, played.crowded)):
            name = _with_keys(entrant, keys)
            players[name] = Remote(workers[entrant.name], "save", 10)
            queries |= prepared({name: players[name]}, keys)
    played.play("save of a tracked row, with so many keys of its table cached", players, queries)
    return [
        Figure(
            f"save of a tracked row: {entrant.name}, {crowd:,} cached keys / {FEW_KEYS}",
            players[_with_keys(entrant, crowd)].over(players[_with_keys(entrant, FEW_KEYS)]),
            "times",
            1.2 if entrant.library == "perfkit" else None,
            "lower",
        )
        for entrant in CROWDED
    ]


def _with_keys(entrant: Entrant, keys: int) -> str:
    return f"{entrant.name}, {keys:,} keys"


def _uncached(played: Stage) -> list[Figure]:
    """Time what perfkit has no part in; how far plain Django is from itself says how exact that is."""
    figures = []
    for title, job in (("save of an untracked row", "uncached write"), ("uncached query", "uncached read")):
        players = played.compare(title, job, calls=10, beside={PLAIN_AGAIN: (job, 0)})
        again = players[PLAIN_AGAIN].over(players[PLAIN.name])
        figures += [
            _slower(title, players, IN_REQUEST, 1.03),
            Figure(f"{title}: {PLAIN_AGAIN} / {PLAIN.name}", again, "times", None, "lower"),
        ]
    return figures


def _stampedes(server: CacheServer, times: int) -> list[Figure]:
    """Let processes miss one slow row together, and count how often the database is asked for it, at worst."""
    figures = []
    for entrant, goal in ((IN_REQUEST, 1.0), (CACHEOPS, None), (CACHALOT, None)):
        asked = []
        with entrant.start(server.url(entrant.cache_database)) as worker:
            for _ in range(times):
                server.flush([entrant.cache_database])
                asked.append(worker.ask(do="together", job="slow get", processes=PROCESSES)["queries"])
        title = f"a query of 200 ms that {PROCESSES} processes miss together: {entrant.name}"
        figures.append(Figure(title, max(asked), "queries", goal, "lower"))
    return figures


def _outage(played: Stage) -> list[Figure]:
    """Read and save while the cache server is stopped, and time the first calls that find it out."""
    if not played.server.is_own:
        return []  # a lent server is not stopped
    figures = []
    for title, job, calls in (("get by key", "get hit", 15), ("save of a tracked row", "save", 10)):
        played.server.flush(CACHE_DATABASES)
        players = {each.name: played.player(each, job, calls) for each in (PLAIN, IN_REQUEST)}
        prepared(players, FEW_KEYS)
        with played.server.hanging():
            hanging_ms = players[IN_REQUEST.name].once().seconds * 1000
        _await_recovery(played)
        with played.server.stopped():
            stopped_ms = players[IN_REQUEST.name].once().seconds * 1000
            queries = {name: each.once().queries for name, each in players.items()}
            played.play(f"{title}, the cache server stopped", players, queries)
        _await_recovery(played)
        figures += [
            _slower(f"{title}, the cache server stopped", players, IN_REQUEST, 1.05),
            Figure(f"{title}: the first after the cache server stopped", stopped_ms, "ms", 100.0, "lower"),
            Figure(f"{title}: the first after it began to hang", hanging_ms, "ms", 100.0, "lower"),
        ]
    return figures


def _await_recovery(played: Stage) -> None:
    """Wait until reads are hits again."""
    reader = played.player(IN_REQUEST, "get hit")
    deadline = time.monotonic() + RECOVERS_SECONDS
    while prepared({IN_REQUEST.name: reader}, 0)[IN_REQUEST.name]:
        if time.monotonic() > deadline:
            raise RuntimeError("Reads have not become hits again after the cache server came back.")
        time.sleep(0.1)


def _faster(title: str, players: Players, own: Entrant, than: Entrant, goal: float | None) -> Figure:
    times = players[than.name].over(players[own.name])
    return Figure(f"{title}: {than.name} / {own.name}", times, "times", goal, "higher")


def _slower(title: str, players: Players, own: Entrant, goal: float | None) -> Figure:
    times = players[own.name].over(players[PLAIN.name])
    return Figure(f"{title}: {own.name} / {PLAIN.name}", times, "times", goal, "lower")


def _beyond_a_trip(title: str, players: Players, own: Entrant, goal: float) -> Figure:
    beyond = players[own.name].beyond(players[ROUND_TRIP])
    return Figure(f"{title}: {own.name}, beyond one round trip", beyond * 1e6, "us", goal, "lower")
