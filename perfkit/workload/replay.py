"""Runs the SELECTs of a workload once more, and compares how long they take with what was recorded.

# Note [Statements from a file]
Whoever can write the file decides what is run, with the rights of the project's role. So only what is one SELECT
is run, in a transaction in which the database lets nothing be written, for a limited time, and rolled back; and on
PostgreSQL it is sent by the protocol that takes one statement and no more. A function that a SELECT calls may
still do what no transaction undoes: replay files that you trust.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

from django.db import DatabaseError

from perfkit.errors import UsageError
from perfkit.watching import fingerprint
from perfkit.workload.connecting import own_connection, reading_only
from perfkit.workload.shapes import QueryShape, Workload
from perfkit.workload.texts import locks_rows, verb_of

logger: Final = logging.getLogger("perfkit.workload")

LONGEST_SQL: Final = 20_000
"""Characters of a statement that is looked at whole; see `fingerprint`."""

TIMEOUT_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one shape.

    Attributes:
        shape: As it was recorded.
        runs: How often one of its samples was run.
        mean_seconds: Of these runs; 0.0 where there was none.
        failures: Runs that the database refused, or that took too long.
        problem: Why it failed last, without values.
    """

    shape: QueryShape
    runs: int
    mean_seconds: float
    failures: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What became of a workload, the shape that costs most first.

    Attributes:
        skipped: Shapes that were not run: no sample, or none that only reads.
    """

    replayed: tuple[Replayed, ...]
    skipped: int

    @property
    def recorded_seconds(self) -> float:
        """What one call of the shapes that ran took on average when they were recorded."""
        return self._weighted([(each.shape.calls, each.shape.mean_seconds) for each in self._ran])

    @property
    def replayed_seconds(self) -> float:
        """What it takes now, with the shapes as frequent as they were."""
        return self._weighted([(each.shape.calls, each.mean_seconds) for each in self._ran])

    @property
    def _ran(self) -> list[Replayed]:
        return [each for each in self.replayed if each.runs]

    @staticmethod
    def _weighted(pairs: Sequence[tuple[int, float]]) -> float:
        calls = sum(calls for calls, _ in pairs)
        return sum(calls * mean for calls, mean in pairs) / calls if calls else 0.0


def is_one_read(sql: str) -> bool:
    """Say whether a text is one statement that only reads, as far as its text tells.

    Example:
        >>> [is_one_read(sql) for sql in ("SELECT ';'", "SELECT 1; COMMIT", "SELECT 1 FOR UPDATE")]
        [True, False, False]
    """
    if len(sql) > LONGEST_SQL:
        return False
    text = fingerprint(sql)
    return (
        text.lstrip("( ").upper().startswith(("SELECT", "WITH"))
        and verb_of(text) == "SELECT"
        and not locks_rows(text)
        and ";" not in text.rstrip("; ")
    )


def replay_workload(
    workload: Workload,
    *,
    using: str = "default",
    times: int = 3,
    concurrent: int = 1,
    timeout_ms: int = TIMEOUT_MS,
) -> ReplayReport:
    """Run the samples that only read, and say how long they take.

    See Note [Statements from a file]. Nothing is written.

    Args:
        using: The alias of the database, which may be another than that of the workload.
        times: How often each sample is run.
        concurrent: Connections that run them at the same time, each its part of the samples.
        timeout_ms: Longest time of one statement, on PostgreSQL.

    Raises:
        UsageError: A number is less than 1.
        DatabaseError: The database cannot be reached.

    Queries:
        Four for each run of a sample, on connections of its own.
    """
    if times < 1 or concurrent < 1 or timeout_ms < 1:
        raise UsageError(
            "A workload is replayed once at least, on at least one connection, within some time."
        )
    runs = [(place, sql) for place, sql in _samples(workload) for _ in range(times)]
    found: dict[int, list[float | str]] = {}
    parts = [runs[begin::concurrent] for begin in range(concurrent)]
    with ThreadPoolExecutor(concurrent, thread_name_prefix="perfkit.replay") as threads:
        for told in threads.map(lambda part: _run_all(using, part, timeout_ms), parts):
            for place, outcome in told:
                found.setdefault(place, []).append(outcome)
    replayed = [_replayed(workload.shapes[place], outcomes) for place, outcomes in found.items()]
    replayed.sort(key=lambda each: -each.shape.total_seconds)
    return ReplayReport(tuple(replayed), len(workload.shapes) - len(replayed))


def _samples(workload: Workload) -> Iterator[tuple[int, str]]:
    for place, shape in enumerate(workload.shapes):
        for sql in shape.samples:
            if is_one_read(sql):
                yield place, sql


def _run_all(using: str, runs: Sequence[tuple[int, str]], timeout_ms: int) -> list[tuple[int, float | str]]:
    if not runs:
        return []
    with own_connection(using) as own:
        return [(place, _run(own, sql, timeout_ms)) for place, sql in runs]


def _run(own: Any, sql: str, timeout_ms: int) -> float | str:
    """Return the seconds of a run, or what the database says instead."""
    try:
        with reading_only(own, timeout_ms=timeout_ms) as cursor:
            return _timed(own, cursor, sql)
    except DatabaseError as error:
        if own.connection is None:  # and nothing else would run
            raise
        return type(error.__cause__ or error).__name__


def _timed(own: Any, cursor: Any, sql: str) -> float:
    if own.vendor == "postgresql" and hasattr(own.connection, "pgconn"):
        import psycopg

        with own.wrap_database_errors, psycopg.Cursor(own.connection) as one:
            begun = perf_counter()
            one.execute(sql.encode(), binary=True)  # by the protocol that takes one statement
            return perf_counter() - begun
    begun = perf_counter()
    cursor.execute(sql)
    return perf_counter() - begun


def _replayed(shape: QueryShape, outcomes: Sequence[float | str]) -> Replayed:
    seconds = [each for each in outcomes if isinstance(each, float)]
    problems = [each for each in outcomes if isinstance(each, str)]
    return Replayed(
        shape,
        len(seconds),
        statistics.fmean(seconds) if seconds else 0.0,
        len(problems),
        problems[-1] if problems else "",
    )
