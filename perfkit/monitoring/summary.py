"""How fast the project is, in all of its processes: `read_summary`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from asgiref.sync import sync_to_async
from django.db import connections

from perfkit.caching.store import StoreError
from perfkit.caching.windows import Window
from perfkit.conf import options
from perfkit.errors import SettingsError
from perfkit.monitoring.boards import (
    LOOPS,
    PROCESSES,
    STATEMENTS,
    Loop,
    Process,
    Seen,
    boards,
    boards_of,
    living,
    read_all,
)
from perfkit.monitoring.figures import (
    CacheFigures,
    LoopFigures,
    NamedTiming,
    Pages,
    Point,
    PoolUse,
    QueryFigures,
    RequestFigures,
    TaskFigures,
    point_of,
)
from perfkit.monitoring.ledgers import Ledger, Vector, added_up, current_ledger
from perfkit.monitoring.recording import recorder
from perfkit.monitoring.series import FIVES, HOURS, MINUTES, TWENTIES, VERBS


@dataclass(frozen=True, slots=True)
class Range:
    """A stretch of time that ends now.

    Attributes:
        window: Whose parts it is made of.
        parts: How many, the one that has begun included: it is up to one part longer than its name says.
        chart: The window whose parts the points of its charts are made of.
        points: How many there are.
        step: Parts in a point.
    """

    window: Window
    parts: int
    chart: Window
    points: int
    step: int = 1


RANGES: Final = {
    "15m": Range(FIVES, 4, MINUTES, 15),
    "1h": Range(FIVES, 13, MINUTES, 60),
    "6h": Range(HOURS, 7, MINUTES, 72, step=5),
    "24h": Range(HOURS, 25, TWENTIES, 72),
}


@dataclass(frozen=True, slots=True)
class Alert:
    """A figure that is worse than it should be.

    Attributes:
        name: As in the alert rules for Prometheus.
        text: What it is, with the figure and its bound.
        advice: What to do.
    """

    name: str
    text: str
    advice: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What was measured in a stretch of time that ends now.

    Attributes:
        range: `"15m"`, `"1h"`, `"6h"` or `"24h"`.
        since: When it began.
        seconds: How long it is.
        requests: Of all views together; `views` has each, those that took the most time first.
        queries: Of all databases together; `by_verb` has each kind.
        statements: Those that took the most time.
        cache: Of all models and functions together; `reads` has each.
        outages: How often a process found that the cache server had stopped answering.
        waits: How long tasks waited, by queue.
        timed: What `timed` measured, by name.
        models: Requests to language models: name and outcome, and the tokens.
        limited: Requests that rate limits looked at, by rule and outcome.
        points: For charts, oldest first; empty where they were not asked for.
        is_shared: Whether the figures are of all processes, or of this one alone.
        problem: Why figures are missing.
        is_away: Whether that is because the cache server does not answer.
    """

    range: str
    since: datetime
    seconds: float
    requests: RequestFigures
    views: tuple[RequestFigures, ...]
    queries: QueryFigures
    by_verb: tuple[QueryFigures, ...]
    statements: tuple[QueryFigures, ...]
    cache: CacheFigures
    reads: tuple[CacheFigures, ...]
    outages: int
    tasks: tuple[TaskFigures, ...]
    waits: tuple[NamedTiming, ...]
    timed: tuple[NamedTiming, ...]
    models: tuple[NamedTiming, ...]
    loops: tuple[LoopFigures, ...]
    limited: dict[tuple[str, ...], int]
    pools: tuple[PoolUse, ...]
    processes: tuple[Process, ...]
    points: tuple[Point, ...]
    is_shared: bool
    problem: str = ""
    is_away: bool = False

    @property
    def requests_per_second(self) -> float:
        """On average over the whole time."""
        return self.requests.timing.count / self.seconds if self.seconds else 0.0


def read_summary(
    since: str = "1h",
    *,
    statements: int = 50,
    has_points: bool = False,
    tells_first: bool = True,
    now: float | None = None,
) -> Summary:
    """Return what all processes measured that use the same cache server.

    Each tells what it measured every `METRICS_INTERVAL` seconds; what this one did is there.
    With a `LocMemCache` the figures are those of this process alone, and so they are where the cache server does
    not answer: those that wait to be told to it.

    Args:
        since: `"15m"`, `"1h"`, `"6h"` or `"24h"`.
        statements: The most fingerprints.
        has_points: Whether figures over time are wanted, too.
        tells_first: Whether what this process did until now is told before; else what others share has it once
            this process tells of itself, some `METRICS_INTERVAL` seconds later.
        now: Seconds since 1970.

    Raises:
        ValueError: There is no such range.

    Queries:
        None; two round trips to the cache server, with points a third, and those that tell.
    """
    if since not in RANGES:
        raise ValueError(f"since must be one of {', '.join(map(repr, RANGES))}, not {since!r}.")
    chosen = RANGES[since]
    moment = time.time() if now is None else now
    problem = "" if options.METRICS_ENABLED else "METRICS_ENABLED is off: nothing is measured."
    is_shared = is_away = False
    pages = Pages({})
    points: tuple[Point, ...] = ()
    processes: list[Process] = [boards.process(lost=recorder.lost)]
    loops: dict[str, Loop] = {}
    seen: dict[str, Seen] = {}
    first = chosen.window.part(moment) - chosen.parts + 1
    names = [chosen.window.name(first + part) for part in range(chosen.parts)]
    begun = first * chosen.window.part_seconds
    try:
        ledger = current_ledger()
        is_shared = ledger.is_shared
        if tells_first or not is_shared:
            recorder.tell()
        sums, (found, *noted) = ledger.look(names, [PROCESSES, *boards_of(LOOPS, begun, moment)])
        pages = Pages(sums)
        if has_points:
            points = tuple(_points(ledger, chosen, moment))
        processes = living(ledger, found, now=boards.ledger_seconds()) or processes
        loops = read_all(noted, Loop)
        top = [each.fingerprint for each in pages.statements(most=statements)]
        if top:
            seen = read_all(ledger.posted(boards_of(STATEMENTS, begun, moment), names=top), Seen)
    except (StoreError, SettingsError) as error:
        if not pages.has_any:
            pages, is_shared = Pages(_untold(names)), False
            seen, loops = boards.known(STATEMENTS), boards.known(LOOPS)
        is_away = isinstance(error, StoreError)
        problem = f"The cache server does not answer: {error}" if is_away else str(error)
    return _summary(
        pages,
        since=since,
        begun=begun,
        seconds=moment - begun,
        most=statements,
        seen=seen,
        loops=loops,
        processes=tuple(processes),
        points=points,
        is_shared=is_shared,
        problem=problem,
        is_away=is_away,
    )


def _untold(names: Sequence[str]) -> dict[str, Vector]:
    """Return what this process has measured and could not tell, of these pages."""
    recorder.tell()
    return added_up(part[name].vectors for part in recorder.untold() for name in names if name in part)


async def aread_summary(since: str = "1h", *, statements: int = 50, has_points: bool = False) -> Summary:
    """Return what `read_summary` does, from async code."""
    return await sync_to_async(read_summary)(since, statements=statements, has_points=has_points)


def _summary(
    pages: Pages,
    *,
    since: str,
    begun: float,
    seconds: float,
    most: int,
    seen: dict[str, Seen],
    loops: dict[str, Loop],
    processes: tuple[Process, ...],
    points: tuple[Point, ...],
    is_shared: bool,
    problem: str,
    is_away: bool,
) -> Summary:
    shares = pages.pool_shares()
    aliases = {pool.alias for process in processes for pool in process.pools} | set(shares)
    return Summary(
        range=since,
        since=datetime.fromtimestamp(begun, tz=UTC),
        seconds=seconds,
        requests=pages.all_requests(),
        views=pages.views(),
        queries=pages.all_queries(),
        by_verb=pages.queries(),
        statements=tuple(
            replace(each, seen=seen.get(each.fingerprint)) for each in pages.statements(most=most)
        ),
        cache=pages.all_reads(),
        reads=pages.reads(),
        outages=pages.outages(),
        tasks=pages.tasks(),
        waits=pages.named("wait"),
        timed=pages.named("timed"),
        models=pages.named("model"),
        loops=pages.loops(loops),
        limited=pages.counts("limit"),
        pools=tuple(PoolUse(alias, shares.get(alias), processes) for alias in sorted(aliases)),
        processes=processes,
        points=points,
        is_shared=is_shared,
        problem=problem,
        is_away=is_away,
    )


def _points(ledger: Ledger, chosen: Range, now: float) -> Iterator[Point]:
    """Yield figures of stretches of equal length, oldest first; one round trip."""
    window, step = chosen.chart, chosen.step
    last = window.part(now)
    first = last - last % step - (chosen.points - 1) * step
    begun = range(first, last + 1, step)
    stretches = [[window.name(part) for part in range(begin, min(begin + step, last + 1))] for begin in begun]
    found = ledger.sums(stretches, names=_chart_names())
    for begin, sums in zip(begun, found, strict=True):
        moment = float(begin * window.part_seconds)
        yield point_of(sums, moment=moment, seconds=min(float(step * window.part_seconds), now - moment))


def _chart_names() -> list[str]:
    """Return the names of the vectors that charts are made of, and `other`, where the rest of a kind is."""
    return [
        *(f"request\t{status}xx" for status in range(1, 6)),
        *(f"query\t{alias}\t{verb}" for alias in connections for verb in sorted({*VERBS, "OTHER"})),
        *(f"cache\t{outcome}" for outcome in ("hit", "miss", "bypass")),
        *(f"{kind}\tother" for kind in ("request", "query", "cache")),
    ]


def alerts(summary: Summary) -> list[Alert]:
    """Return what is worse than it should be; where hardly anything happened, nothing is."""
    return [alert for judge in JUDGES for alert in judge(summary)]


LEAST_EVENTS: Final = 20
LEAST_HIT_RATE: Final = 0.70
MOST_SLOW_SHARE: Final = 0.05
MOST_MEAN_QUERY_SECONDS: Final = 0.100
MOST_P95_SECONDS: Final = 0.500
MOST_POOL_SHARE: Final = 0.80


def _hit_rate(summary: Summary) -> Iterator[Alert]:
    rate = summary.cache.hit_rate
    if (
        rate is not None
        and summary.cache.hits + summary.cache.misses >= LEAST_EVENTS
        and rate < LEAST_HIT_RATE
    ):
        yield Alert(
            "PerfkitLowHitRate",
            f"{rate:.0%} of cached reads are hits, below {LEAST_HIT_RATE:.0%}.",
            "Look at which models miss: their time to live may be short, or they are written all the time.",
        )


def _queries(summary: Summary) -> Iterator[Alert]:
    queries = summary.queries
    if queries.timing.count < LEAST_EVENTS:
        return
    if (queries.slow_share or 0.0) > MOST_SLOW_SHARE:
        yield Alert(
            "PerfkitSlowQueries",
            f"{queries.slow_share:.1%} of queries are slow, above {MOST_SLOW_SHARE:.0%}.",
            "Look at the statements that take the most time; `manage.py perfkit_explain` shows their plans.",
        )
    if (queries.timing.mean_seconds or 0.0) > MOST_MEAN_QUERY_SECONDS:
        yield Alert(
            "PerfkitSlowDatabase",
            f"A query takes {(queries.timing.mean_seconds or 0) * 1000:.0f} ms on average, "
            f"above {MOST_MEAN_QUERY_SECONDS * 1000:.0f} ms.",
            "If all statements are slow, look at the database's load and connections first.",
        )


def _latency(summary: Summary) -> Iterator[Alert]:
    p95 = summary.requests.timing.p95_seconds
    if p95 is not None and summary.requests.timing.count >= LEAST_EVENTS and p95 > MOST_P95_SECONDS:
        yield Alert(
            "PerfkitSlowRequests",
            f"One request of 20 takes more than {p95 * 1000:.0f} ms, above {MOST_P95_SECONDS * 1000:.0f} ms.",
            "Look at the views that take the most time, and at how much of it is the database's.",
        )


def _pools(summary: Summary) -> Iterator[Alert]:
    for pool in summary.pools:
        if pool.share is not None and pool.share > MOST_POOL_SHARE:
            yield Alert(
                "PerfkitPoolBusy",
                f"{pool.share:.0%} of the connections to {pool.alias!r} are in use, above {MOST_POOL_SHARE:.0%}.",
                "Shorten transactions, or give the pool more connections: `manage.py perfkit_pool` says how many.",
            )


JUDGES: Final[Sequence[Callable[[Summary], Iterator[Alert]]]] = (_hit_rate, _queries, _latency, _pools)
