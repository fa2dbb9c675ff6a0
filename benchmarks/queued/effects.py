"""The table that work leaves its rows in, and the gate before which workers wait."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from benchmarks.queued.work import GATE

MAKE = """
CREATE TABLE benchmark_effect (
    id bigserial PRIMARY KEY, number integer NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(),
    worker integer
)
"""
LOOK_EVERY_SECONDS = 0.05
PATIENCE_SECONDS = 120.0


class NoProgressError(Exception):
    """The workers do not do what they were left."""


def make() -> None:
    """Make the table."""
    _run(MAKE)


def clear() -> None:
    """Remove the rows, and what the jobs of before have left."""
    _run("TRUNCATE benchmark_effect, perfkit_job")


def count() -> int:
    """Return how many rows there are."""
    return int(_one("SELECT count(*) FROM benchmark_effect"))


def by_number() -> Counter[int]:
    """Return how many rows each piece of work has left."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT number, count(*) FROM benchmark_effect GROUP BY number")
        return Counter(dict(cursor.fetchall()))


def worker_of(number: int) -> int:
    """Return the process that has written the row of a piece of work."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT worker FROM benchmark_effect WHERE number = %s ORDER BY id", (number,))
        return int(cursor.fetchone()[0])


def span() -> tuple[float, float]:
    """Return the moments of the first and of the last row, in seconds of the database's clock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM min(at))::float8, extract(epoch FROM max(at))::float8 FROM benchmark_effect"
        )
        first, last = cursor.fetchone()
        return first, last


def now() -> float:
    """Return this moment on the database's clock."""
    return float(_one("SELECT extract(epoch FROM clock_timestamp())::float8"))


def wait_until(is_so: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something that workers do.

    Raises:
        NoProgressError: They do not.
    """
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise NoProgressError(f"After {seconds:.0f} seconds there are {count()} rows.")
        time.sleep(LOOK_EVERY_SECONDS)


@contextmanager
def gate(hold: Callable[[], object]) -> Iterator[None]:
    """Have a worker wait within the block; it is told to by `hold`."""
    _run("SELECT pg_advisory_lock(%s)", GATE)
    try:
        hold()
        wait_until(
            lambda: bool(_one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))
        )
        yield
    finally:
        _run("SELECT pg_advisory_unlock(%s)", GATE)


def _run(sql: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def _one(sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]
