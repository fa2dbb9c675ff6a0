"""Figures made of what a ledger holds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from perfkit.monitoring.boards import Loop, Process, Seen
from perfkit.monitoring.buckets import COARSE, quantiles
from perfkit.monitoring.ledgers import Vector
from perfkit.monitoring.open_connections import Connected
from perfkit.monitoring.series import buckets_of, summed

MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Timing:
    """How often something ran, and how long; durations in seconds, None where it never ran.

    Each quantile is within 2 % of the exact one, or 8 % where `is_coarse`.
    """

    count: int = 0
    total_seconds: float = 0.0
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    p99_seconds: float | None = None
    is_coarse: bool = False

    @property
    def mean_seconds(self) -> float | None:
        """The mean, which is exact."""
        return self.total_seconds / self.count if self.count else None


@dataclass(frozen=True, slots=True)
class RequestFigures:
    """Requests of one view by one method; of all of them where these are empty.

    Attributes:
        view: The pattern of the address.
        failed: Answers with a status from 500 on.
        refused: Those from 400 to 499.
        database_seconds: How long all queries of these requests took.
    """

    method: str
    view: str
    timing: Timing
    failed: int = 0
    refused: int = 0
    queries: int = 0
    database_seconds: float = 0.0

    @property
    def failed_share(self) -> float | None:
        """Share of answers with a status from 500 on, 0 to 1."""
        return self.failed / self.timing.count if self.timing.count else None

    @property
    def database_share(self) -> float | None:
        """Share of the time that was spent in the database; above 1 where queries ran side by side."""
        return self.database_seconds / self.timing.total_seconds if self.timing.total_seconds else None

    @property
    def queries_each(self) -> float | None:
        """Queries of a request, on average."""
        return self.queries / self.timing.count if self.timing.count else None


@dataclass(frozen=True, slots=True)
class QueryFigures:
    """Statements of one kind: by alias and verb, or by fingerprint.

    Attributes:
        seen: The text and where it comes from, where that is known.
    """

    alias: str
    verb: str
    timing: Timing
    slow: int = 0
    failed: int = 0
    fingerprint: str = ""
    seen: Seen | None = None

    @property
    def slow_share(self) -> float | None:
        """Share of those that took as long as `QUERY_SLOW_THRESHOLD`, 0 to 1."""
        return self.slow / self.timing.count if self.timing.count else None


@dataclass(frozen=True, slots=True)
class CacheFigures:
    """Cached reads of one model or function; of all where the label is empty."""

    label: str
    hits: int = 0
    misses: int = 0
    bypasses: Mapping[str, int] = field(default_factory=dict)

    @property
    def bypassed(self) -> int:
        """All bypasses together."""
        return sum(self.bypasses.values())

    @property
    def hit_rate(self) -> float | None:
        """Share of hits among hits and misses, 0 to 1; None where there were neither."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else None


@dataclass(frozen=True, slots=True)
class TaskFigures:
    """Runs of one task or job on one queue."""

    name: str
    queue: str
    timing: Timing
    outcomes: Mapping[str, int]
    retries: int = 0


@dataclass(frozen=True, slots=True)
class NamedTiming:
    """What `timed` measured under a name, how long tasks waited in a queue, or what a model was asked.

    Attributes:
        second: How many raised; of a model, the tokens.
    """

    name: str
    timing: Timing
    second: int = 0


@dataclass(frozen=True, slots=True)
class LoopFigures:
    """A loop of queries that the N+1 guard found.

    Attributes:
        found: In how many requests, tasks or blocks.
        queries: Sent in all of these loops.
    """

    kind: str
    name: str
    found: int
    queries: int
    known: Loop | None = None


@dataclass(frozen=True, slots=True)
class PoolUse:
    """The pool of a database, over all processes.

    Attributes:
        share: Of the connections that it may have, those in use; the mean over the time.
        processes: How it stands now, in each process.
    """

    alias: str
    share: float | None
    processes: tuple[Process, ...] = ()

    @property
    def now(self) -> tuple[int, int, int]:
        """Connections in use, those that there may be, and requests that wait for one: at the moment."""
        pools = [pool for process in self.processes for pool in process.pools if pool.alias == self.alias]
        return sum(p.in_use for p in pools), sum(p.most for p in pools), sum(p.waiting for p in pools)


@dataclass(frozen=True, slots=True)
class Point:
    """What happened in one stretch of time, for a chart.

    Attributes:
        moment: When it began, in seconds since 1970.
        seconds: How long it is.
    """

    moment: float
    seconds: float
    requests: RequestFigures
    queries: QueryFigures
    cache: CacheFigures


def connected(processes: Iterable[Process]) -> dict[str, Connected]:
    """Return how many connections all processes have open, by alias."""
    found: dict[str, Connected] = {}
    for each in sorted(
        (one for process in processes for one in process.connections), key=lambda one: one.alias
    ):
        held = found.get(each.alias, Connected(each.alias))
        found[each.alias] = Connected(
            each.alias,
            held.active + each.active,
            held.in_transaction + each.in_transaction,
            held.idle + each.idle,
        )
    return found


def timing_of(vector: Vector, *, width: int = 1) -> Timing:
    """Return the figures of a vector of durations."""
    buckets = buckets_of(vector)
    p50, p95, p99 = (
        None if found is None else found / MICROSECONDS
        for found in quantiles(buckets, (0.5, 0.95, 0.99), width=width)
    )
    return Timing(
        count=sum(buckets.values()),
        total_seconds=vector.get(0, 0) / MICROSECONDS,
        p50_seconds=p50,
        p95_seconds=p95,
        p99_seconds=p99,
        is_coarse=width != 1,
    )


class Pages:
    """The vectors of several pages together, found by kind.

    Args:
        sums: As a ledger returns them.
        width: `COARSE` where they are of points.
    """

    def __init__(self, sums: Mapping[str, Vector], *, width: int = 1) -> None:
        self._width = width
        self._kinds: dict[str, dict[tuple[str, ...], Vector]] = {}
        for name, vector in sums.items():
            kind, *labels = name.split("\t")
            self._kinds.setdefault(kind, {})[tuple(labels)] = vector

    @property
    def has_any(self) -> bool:
        """Whether anything is on them."""
        return bool(self._kinds)

    def of(self, kind: str) -> dict[tuple[str, ...], Vector]:
        """Return the vectors of a kind, by labels."""
        return self._kinds.get(kind, {})

    def grouped(
        self, kind: str, by: Callable[[tuple[str, ...]], tuple[str, ...]]
    ) -> dict[tuple[str, ...], dict[tuple[str, ...], Vector]]:
        """Return the vectors of a kind, by what `by` makes of their labels, and then by their labels."""
        groups: dict[tuple[str, ...], dict[tuple[str, ...], Vector]] = {}
        for labels, vector in self.of(kind).items():
            groups.setdefault(by(labels), {})[labels] = vector
        return groups

    def timing(self, vectors: Iterable[Vector]) -> Timing:
        """Return the figures of vectors together."""
        return timing_of(summed(vectors), width=self._width)

    def all_requests(self) -> RequestFigures:
        """Return the figures of all requests."""
        return self._requests("", "", vectors=self.of("request"))

    def views(self) -> tuple[RequestFigures, ...]:
        """Return those of each view and method, those that took the most time first."""
        found = [
            self._requests(*_pair(key), vectors=vectors)
            for key, vectors in self.grouped("request", lambda labels: labels[:-1] or labels).items()
        ]
        return tuple(sorted(found, key=lambda each: (-each.timing.total_seconds, each.view, each.method)))

    def _requests(
        self, method: str, view: str, *, vectors: Mapping[tuple[str, ...], Vector]
    ) -> RequestFigures:
        whole = summed(vectors.values())
        by_class: dict[str, int] = {}
        for labels, vector in vectors.items():
            status = labels[-1]
            by_class[status] = by_class.get(status, 0) + timing_of(vector).count
        return RequestFigures(
            method=method,
            view=view,
            timing=timing_of(whole, width=self._width),
            failed=by_class.get("5xx", 0),
            refused=by_class.get("4xx", 0),
            queries=whole.get(2, 0),
            database_seconds=whole.get(1, 0) / MICROSECONDS,
        )

    def all_queries(self) -> QueryFigures:
        """Return the figures of all statements."""
        return self._queries("", "", vectors=self.of("query").values())

    def queries(self) -> tuple[QueryFigures, ...]:
        """Return those by alias and verb, those that took the most time first."""
        found = [
            self._queries(*_pair(labels), vectors=[vector]) for labels, vector in self.of("query").items()
        ]
        return tuple(sorted(found, key=lambda each: (-each.timing.total_seconds, each.alias, each.verb)))

    def statements(self, *, most: int) -> tuple[QueryFigures, ...]:
        """Return those of the fingerprints that took the most time."""
        found = sorted(self.of("statement").items(), key=lambda item: (-item[1].get(0, 0), item[0]))[:most]
        return tuple(
            self._queries(labels[0], "", vectors=[vector], fingerprint=labels[-1]) for labels, vector in found
        )

    def _queries(
        self, alias: str, verb: str, *, vectors: Iterable[Vector], fingerprint: str = ""
    ) -> QueryFigures:
        whole = summed(vectors)
        return QueryFigures(
            alias=alias,
            verb=verb,
            timing=timing_of(whole, width=self._width),
            slow=whole.get(1, 0),
            failed=whole.get(2, 0),
            fingerprint=fingerprint,
        )

    def all_reads(self) -> CacheFigures:
        """Return the figures of all cached reads."""
        return _reads("", {labels[-2:]: vector for labels, vector in self._by_outcome().items()})

    def _by_outcome(self) -> dict[tuple[str, ...], Vector]:
        groups = self.grouped("cache", lambda labels: labels[1:] if len(labels) > 1 else labels)
        return {key: summed(vectors.values()) for key, vectors in groups.items()}

    def reads(self) -> tuple[CacheFigures, ...]:
        """Return those of each model and function, those with the most reads first."""
        groups = self.grouped("cache", lambda labels: labels[:1])
        found = [
            _reads(key[0], {labels[1:]: vector for labels, vector in vectors.items()})
            for key, vectors in groups.items()
            if key[0]  # what has no label is an outage
        ]
        return tuple(sorted(found, key=lambda each: (-(each.hits + each.misses + each.bypassed), each.label)))

    def outages(self) -> int:
        """Return how often a process found that the cache server had stopped answering."""
        return sum(vector.get(0, 0) for labels, vector in self.of("cache").items() if "outage" in labels[:2])

    def tasks(self) -> tuple[TaskFigures, ...]:
        """Return the figures of tasks and jobs, those that took the most time first."""
        found = []
        for key, vectors in self.grouped("task", lambda labels: labels[:-1] or labels).items():
            whole = summed(vectors.values())
            outcomes = {labels[-1]: timing_of(vector).count for labels, vector in vectors.items()}
            name, queue = _pair(key)
            found.append(
                TaskFigures(name, queue, timing_of(whole, width=self._width), outcomes, whole.get(1, 0))
            )
        return tuple(sorted(found, key=lambda each: (-each.timing.total_seconds, each.name, each.queue)))

    def named(self, kind: str) -> tuple[NamedTiming, ...]:
        """Return the timings of a kind with one name, those that took the most time first."""
        found = [
            NamedTiming(labels[0], timing_of(vector, width=self._width), vector.get(1, 0))
            for labels, vector in self.of(kind).items()
        ]
        return tuple(sorted(found, key=lambda each: (-each.timing.total_seconds, each.name)))

    def loops(self, known: Mapping[str, Loop]) -> tuple[LoopFigures, ...]:
        """Return the loops of queries, those with the most queries first."""
        found = [
            LoopFigures(
                *_pair(labels),
                found=vector.get(0, 0),
                queries=vector.get(1, 0),
                known=known.get("\t".join(labels)),
            )
            for labels, vector in self.of("loop").items()
        ]
        return tuple(sorted(found, key=lambda each: (-each.queries, each.kind, each.name)))

    def counts(self, kind: str) -> dict[tuple[str, ...], int]:
        """Return the numbers of a kind that is only counted, by labels."""
        return {labels: vector.get(0, 0) for labels, vector in self.of(kind).items()}

    def pool_shares(self) -> dict[str, float]:
        """Return the mean share of connections in use, by alias."""
        return {
            labels[0]: vector.get(1, 0) / vector[2]
            for labels, vector in self.of("pool").items()
            if vector.get(2)
        }


def point_of(sums: Mapping[str, Vector], *, moment: float, seconds: float) -> Point:
    """Return what was measured in a stretch of time."""
    found = Pages(sums, width=COARSE)
    reads = {labels[0]: vector.get(0, 0) for labels, vector in found.of("cache").items()}
    return Point(
        moment=moment,
        seconds=seconds,
        requests=found.all_requests(),
        queries=found.all_queries(),
        cache=CacheFigures(
            "", reads.get("hit", 0), reads.get("miss", 0), {"": reads["bypass"]} if "bypass" in reads else {}
        ),
    )


def _reads(label: str, vectors: Mapping[tuple[str, ...], Vector]) -> CacheFigures:
    numbers: dict[str, int] = {}
    reasons: dict[str, int] = {}
    for (outcome, *reason), vector in vectors.items():
        number = vector.get(0, 0)
        numbers[outcome] = numbers.get(outcome, 0) + number
        if outcome == "bypass":
            why = "".join(reason)
            reasons[why] = reasons.get(why, 0) + number
    ordered = dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
    return CacheFigures(label, numbers.get("hit", 0), numbers.get("miss", 0), ordered)


def _pair(labels: tuple[str, ...]) -> tuple[str, str]:
    """Return the first two labels: what a page had no room for has only one, `other`."""
    return labels[0], labels[1] if len(labels) > 1 else ""
