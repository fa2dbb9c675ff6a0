"""The metrics, made of what the ledger holds since it began. Pure.

Names follow Prometheus' conventions: base units, `_total` on what only grows.
How many series there are is bounded by the pages, see `TOTALS` in `series`, and by the bounds of durations below.

Source: Prometheus' manual, "Metric and label naming" and "Writing client libraries".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

from perfkit.monitoring.boards import Pool, Process
from perfkit.monitoring.buckets import STANDARD_SECONDS
from perfkit.monitoring.ledgers import OTHER, Vector
from perfkit.monitoring.open_connections import Connected
from perfkit.monitoring.series import MOST_ALIASES, buckets_of, count_of, summed

MICROSECONDS: Final = 1_000_000
# Each is one of `STANDARD_SECONDS`, where the ledger tells durations apart.
OF_REQUESTS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OF_QUERIES: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
OF_TASKS: Final = (0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 50.0, 100.0, 500.0, 5_000.0)
OF_ANSWERS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)
OF_BLOCKS: Final = (0.001, 0.01, 0.1, 1.0, 10.0)

Labels = tuple[str, ...]
Page = Mapping[str, Vector]


@dataclass(frozen=True, slots=True)
class Lag:
    """What waits in the database; None where it was not to be known in time.

    Attributes:
        dead_jobs: At most `lag.MOST_ROWS`, as every number of rows here.
        overdue_seconds: Since when a job should have been sent or given to another worker.
        outbox_rows: By alias.
        outbox_seconds: Age of the oldest of these.
    """

    dead_jobs: int | None = None
    overdue_seconds: float | None = None
    outbox_rows: Mapping[str, int] = field(default_factory=dict)
    outbox_seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is told at one moment.

    Attributes:
        pages: Those of `TOTALS`, by their kinds.
        is_up: Whether they could be read.
    """

    pages: Mapping[str, Page] = field(default_factory=dict)
    processes: Sequence[Process] = ()
    lag: Lag = field(default_factory=Lag)
    is_up: bool = True

    def page(self, kind: str) -> Page:
        """Return a page; an empty one where nothing was counted."""
        return self.pages.get(kind, {})


def families(found: Snapshot) -> Iterator[Metric]:
    """Yield all metrics, those without a series too."""
    yield _gauge(
        "perfkit_metrics_up", "Whether the figures of all processes could be read.", [((), found.is_up)]
    )
    yield from _of_requests(found)
    yield from _of_queries(found)
    yield from _of_connections(found)
    yield from _of_pools(found)
    yield from _of_cache(found)
    yield from _of_tasks(found)
    yield from _of_models(found)
    yield from _of_lag(found.lag)
    yield from _of_the_rest(found)


def _of_requests(found: Snapshot) -> Iterator[Metric]:
    yield _counter(
        "perfkit_http_requests",
        "Requests, by the pattern of their address and the class of their status.",
        ("method", "view", "status"),
        _outcomes(found.page("request"), 2),
    )
    yield _histogram(
        "perfkit_http_request_duration_seconds",
        "How long requests took until their answers began.",
        ("view",),
        found.page("view"),
        OF_REQUESTS,
    )
    active = [((), sum(each.active for each in found.processes))] if found.processes else []
    yield _gauge("perfkit_http_requests_active", "Requests that processes are busy with.", active)


def _of_queries(found: Snapshot) -> Iterator[Metric]:
    labels, page = ("alias", "verb"), found.page("query")
    yield _counter("perfkit_db_queries", "Statements.", labels, _numbers(page, 2, count_of))
    yield _histogram(
        "perfkit_db_query_duration_seconds", "How long statements took.", labels, page, OF_QUERIES
    )
    yield _counter(
        "perfkit_db_slow_queries",
        "Statements that took as long as QUERY_SLOW_THRESHOLD.",
        labels,
        _numbers(page, 2, lambda vector: vector.get(1, 0)),
    )
    yield _counter(
        "perfkit_db_failed_queries",
        "Statements that the database refused.",
        labels,
        _numbers(page, 2, lambda vector: vector.get(2, 0)),
    )


def _of_connections(found: Snapshot) -> Iterator[Metric]:
    by_alias: dict[str, list[Connected]] = {}
    every = [each for process in found.processes for each in process.connections]
    for each in sorted(every, key=lambda each: each.alias):
        has_place = each.alias in by_alias or len(by_alias) < MOST_ALIASES
        by_alias.setdefault(each.alias if has_place else OTHER, []).append(each)
    yield _gauge(
        "perfkit_db_connections",
        "Connections to databases that processes have open, those of pools among them.",
        [
            ((alias, state), sum(getattr(each, state) for each in those))
            for alias, those in by_alias.items()
            for state in ("active", "in_transaction", "idle")
        ],
        ("alias", "state"),
    )


def _of_pools(found: Snapshot) -> Iterator[Metric]:
    pools = _pools(found.processes)

    def told(number: Callable[[Pool], int]) -> dict[str, int]:
        return {alias: sum(map(number, each)) for alias, each in pools.items()}

    in_use, size = told(lambda pool: pool.in_use), told(lambda pool: pool.size)
    yield _gauge(
        "perfkit_db_pool_connections",
        "Connections that pools have open.",
        [
            item
            for alias in pools
            for item in (((alias, "in_use"), in_use[alias]), ((alias, "idle"), size[alias] - in_use[alias]))
        ],
        ("alias", "state"),
    )
    for name, text, numbers in (
        ("connections_max", "Connections that pools may have.", told(lambda pool: pool.most)),
        ("requests_waiting", "Requests that wait for a connection.", told(lambda pool: pool.waiting)),
    ):
        items = [((alias,), number) for alias, number in numbers.items()]
        yield _gauge(f"perfkit_db_pool_{name}", text, items, ("alias",))
    for index, scale, name, text in (
        (0, 1, "waits", "How often somebody had to wait for a connection of a pool."),
        (1, MICROSECONDS, "wait_seconds", "How long, all together."),
        (2, 1, "timeouts", "How often somebody waited in vain."),
    ):
        rows = _rows(found.page("queue"), 1)
        waited = [(labels, vector.get(index, 0) / scale) for _, labels, vector in rows]
        yield _counter(f"perfkit_db_pool_{name}", text, ("alias",), waited)


def _of_cache(found: Snapshot) -> Iterator[Metric]:
    yield _counter(
        "perfkit_cache_reads",
        "Cached reads of a model or function, by what they came to.",
        ("label", "outcome"),
        _outcomes(found.page("read"), 1),
    )
    yield _counter(
        "perfkit_cache_bypasses",
        "Cached reads that went to the database and stored nothing, by why.",
        ("reason",),
        _numbers(found.page("bypass"), 1, _first),
    )
    yield _counter(
        "perfkit_cache_outages",
        "How often a process found that the cache server had stopped answering.",
        (),
        _one(found.page("outage")) if found.is_up else (),
    )
    held = [((), sum(each.memory_bytes for each in found.processes))] if found.processes else []
    yield _gauge("perfkit_cache_memory_bytes", "What the cache holds inside of processes.", held)


def _of_tasks(found: Snapshot) -> Iterator[Metric]:
    yield _counter(
        "perfkit_tasks",
        "Runs of tasks and jobs, by what they came to.",
        ("name", "queue", "outcome"),
        _outcomes(found.page("task"), 2),
    )
    yield _histogram(
        "perfkit_task_duration_seconds",
        "How long tasks and jobs ran.",
        ("name", "queue"),
        found.page("run"),
        OF_TASKS,
    )
    yield _histogram(
        "perfkit_task_wait_seconds",
        "How long tasks and jobs waited to begin.",
        ("queue",),
        found.page("wait"),
        OF_TASKS,
    )


def _of_models(found: Snapshot) -> Iterator[Metric]:
    rows = [((*labels, first), vector) for first, labels, vector in _rows(found.page("answer"), 1)]
    yield _counter(
        "perfkit_model_requests",
        "Prompts to language models, by what they came to.",
        ("model", "outcome"),
        ((labels, vector.get(0, 0)) for labels, vector in rows),
    )
    yield _histogram(
        "perfkit_model_request_duration_seconds",
        "How long prompts to language models took.",
        ("model",),
        found.page("model"),
        OF_ANSWERS,
    )
    yield _counter(
        "perfkit_model_tokens",
        "Tokens of answers; those of hits were saved.",
        ("model", "outcome", "direction"),
        (
            item
            for labels, vector in rows
            if vector.get(1)
            for item in (
                ((*labels, "input"), vector[1] - vector.get(2, 0)),
                ((*labels, "output"), vector.get(2, 0)),
            )
        ),
    )


def _of_lag(lag: Lag) -> Iterator[Metric]:
    dead = [] if lag.dead_jobs is None else [((), lag.dead_jobs)]
    overdue = [] if lag.overdue_seconds is None else [((), lag.overdue_seconds)]
    yield _gauge(
        "perfkit_jobs_dead", "Jobs that failed for good and wait for somebody to look at them.", dead
    )
    yield _gauge(
        "perfkit_jobs_overdue_seconds", "Since when a job should have been sent to a worker.", overdue
    )
    rows = [((alias,), number) for alias, number in lag.outbox_rows.items()]
    yield _gauge("perfkit_outbox_rows", "Invalidations that wait for the cache server.", rows, ("alias",))
    ages = [((alias,), number) for alias, number in lag.outbox_seconds.items()]
    yield _gauge("perfkit_outbox_oldest_seconds", "For how long the first of these waits.", ages, ("alias",))


def _of_the_rest(found: Snapshot) -> Iterator[Metric]:
    timed = found.page("timed")
    yield _histogram("perfkit_timed_seconds", "What `timed` measured.", ("name",), timed, OF_BLOCKS)
    yield _counter(
        "perfkit_timed_errors",
        "How often that raised.",
        ("name",),
        _numbers(timed, 1, lambda vector: vector.get(1, 0)),
    )
    loops = found.page("loop")
    yield _counter(
        "perfkit_n_plus_one", "Loops of queries that were found.", ("kind",), _numbers(loops, 1, _first)
    )
    yield _counter(
        "perfkit_n_plus_one_queries",
        "Queries of such loops.",
        ("kind",),
        _numbers(loops, 1, lambda vector: vector.get(1, 0)),
    )
    yield _counter(
        "perfkit_rate_limited",
        "Requests that rate limits looked at, by what they came to.",
        ("rule", "outcome"),
        _outcomes(found.page("limit"), 1),
    )
    roles: dict[str, int] = {}
    for each in found.processes:
        roles[each.role] = roles.get(each.role, 0) + 1
    living = [((role,), number) for role, number in sorted(roles.items())]
    yield _gauge("perfkit_processes", "Processes that measure.", living, ("role",))
    yield _counter(
        "perfkit_metrics_lost",
        "Minutes of measurements that a process could not tell for too long.",
        (),
        _one(found.page("lost")) if found.is_up else (),
    )


def _rows(page: Page, labels: int) -> Iterator[tuple[str, Labels, Vector]]:
    """Yield the first word of each name, its labels and its vector, in the order of the names."""
    found: dict[tuple[str, Labels], Vector] = {}
    for name, vector in page.items():
        first, *rest = name.split("\t")
        key = first, (*rest, *(OTHER for _ in range(labels - len(rest))))[:labels]
        found[key] = summed((found[key], vector)) if key in found else vector
    for (first, told), vector in sorted(found.items(), key=lambda item: item[0]):
        yield first, told, vector


def _numbers(page: Page, labels: int, number: Callable[[Vector], float]) -> Iterator[tuple[Labels, float]]:
    for _, told, vector in _rows(page, labels):
        yield told, number(vector)


def _outcomes(page: Page, labels: int) -> Iterator[tuple[Labels, float]]:
    """Yield counts whose last label is the first word of their names."""
    for first, told, vector in _rows(page, labels):
        yield (*told, first), _first(vector)


def _first(vector: Vector) -> int:
    return vector.get(0, 0)


def _one(page: Page) -> list[tuple[Labels, float]]:
    return [((), sum(map(_first, page.values())))]


def _counter(name: str, text: str, labels: Labels, items: Iterable[tuple[Labels, float]]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for told, number in items:
        family.add_metric(told, number)
    return family


def _gauge(name: str, text: str, items: Iterable[tuple[Labels, float]], labels: Labels = ()) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for told, number in items:
        family.add_metric(told, float(number))
    return family


def _histogram(name: str, text: str, labels: Labels, page: Page, bounds: Sequence[float]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    ends = [STANDARD_SECONDS.index(bound) for bound in bounds]
    names = [*map(floatToGoString, bounds), "+Inf"]
    for _, told, vector in _rows(page, len(labels)):
        counts = [0] * (len(bounds) + 1)
        for bucket, number in buckets_of(vector).items():
            counts[sum(end < bucket for end in ends)] += number
        family.add_metric(
            told,
            buckets=list(zip(names, map(float, accumulate(counts)), strict=True)),
            sum_value=vector.get(0, 0) / MICROSECONDS,
        )
    return family


def _pools(processes: Iterable[Process]) -> dict[str, list[Pool]]:
    """Return the pools of all processes by alias, those of some more under `other`."""
    pools = sorted((pool for process in processes for pool in process.pools), key=lambda pool: pool.alias)
    found: dict[str, list[Pool]] = {}
    for pool in pools:
        has_place = pool.alias in found or len(found) < MOST_ALIASES
        found.setdefault(pool.alias if has_place else OTHER, []).append(pool)
    return found
