"""The queries that take longest, with what they read, where they are sent, and their plans."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from django.apps import apps

from perfkit.postgres.plan_table import plan_lines
from perfkit.postgres.plans import plan_of
from perfkit.workload.connecting import own_connection, reading_only
from perfkit.workload.replay import is_one_read
from perfkit.workload.shapes import QueryShape, Workload
from perfkit.workload.texts import tables_of

By = Literal["mean", "total", "calls"]
WAYS: Final[tuple[By, ...]] = ("mean", "total", "calls")
TIMEOUT_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class SlowQuery:
    """A shape that takes long.

    Attributes:
        shape: With its figures.
        share: Of the time of the whole workload, 0.0 to 1.0.
        model: The label of the model of its first table, empty where there is none.
    """

    shape: QueryShape
    share: float
    model: str


def slow_queries(
    workload: Workload, *, by: By = "mean", threshold_ms: float = 100.0, most: int = 20
) -> list[SlowQuery]:
    """Return the shapes whose calls take at least so long on average, the worst first.

    Args:
        workload: As `read_workload` returns it.
        by: What makes one worse: its mean time, its total time, or its calls.
        threshold_ms: Least mean time.
        most: How many.
    """
    total = workload.total_seconds
    slow = [shape for shape in workload.shapes if shape.calls and shape.mean_seconds * 1000 >= threshold_ms]
    keys = {
        "mean": lambda shape: shape.mean_seconds,
        "total": lambda shape: shape.total_seconds,
        "calls": lambda shape: shape.calls,
    }
    slow.sort(key=keys[by], reverse=True)
    labels = {model._meta.db_table: model._meta.label for model in apps.get_models() if not model._meta.proxy}
    return [
        SlowQuery(
            shape,
            shape.total_seconds / total if total else 0.0,
            next((labels[table] for table in tables_of(shape.fingerprint) if table in labels), ""),
        )
        for shape in slow[:most]
    ]


def explain_sample(
    shape: QueryShape, *, using: str = "default", analyze: bool = False, timeout_ms: int = TIMEOUT_MS
) -> list[str]:
    """Return the plan of the newest sample of a shape, line by line and without its values.

    It is a transaction in which nothing can be written, and that is rolled back.

    Args:
        analyze: Run the statement, so that rows and times are counted (PostgreSQL).
        timeout_ms: Longest time, on PostgreSQL.

    Returns:
        No line where there is no sample that only reads.

    Raises:
        DatabaseError: The database does not explain it, or not in time.

    Queries:
        Four, on a connection of its own.
    """
    sample = next((sql for sql in reversed(shape.samples) if is_one_read(sql)), None)
    if sample is None:
        return []
    with own_connection(using) as own, reading_only(own, timeout_ms=timeout_ms) as cursor:
        if own.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sample}")
            return [str(row[3]) for row in cursor.fetchall()]  # values are ? in it
        run = ", ANALYZE, BUFFERS" if analyze else ""
        cursor.execute(f"EXPLAIN (FORMAT JSON{run}) {sample}")
        said: Any = cursor.fetchone()[0]
    return list(plan_lines(plan_of((json.loads(said) if isinstance(said, str) else said)[0])))
