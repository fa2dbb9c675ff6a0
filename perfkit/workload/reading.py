"""Reads the workload of a database: what was captured, and what PostgreSQL has counted."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import replace
from typing import Final

from django.db import connections
from django.db.models import Max, Min, Sum
from django.utils import timezone

from perfkit.conf import options
from perfkit.models import WorkloadCount, WorkloadSample, WorkloadShape
from perfkit.postgres.statement_statistics import statement_statistics
from perfkit.workload.merging import Naming, merged
from perfkit.workload.shapes import CAPTURE, QueryShape, Workload
from perfkit.workload.store import has_tables

HOUR_SECONDS: Final = 3600


def read_workload(using: str = "default", *, since: dt.timedelta | None = None) -> Workload:
    """Return what was sent to a database, the most expensive shape first.

    What processes have counted in the last `WORKLOAD_INTERVAL` may not be there yet: see `flush_workload`.

    Args:
        using: The alias.
        since: Only what was captured in so long a time, in whole hours; pg_stat_statements cannot tell and is left
            out then.

    Queries:
        Five for what was captured, and up to three for pg_stat_statements.
    """
    captured = read_capture(using, since=since)
    if since is not None or connections[using].vendor != "postgresql":
        return captured
    statistics = statement_statistics(connections[using])
    if statistics.problem:
        return captured
    seconds = captured.seconds
    if statistics.since is not None:
        seconds = (dt.datetime.now(tz=dt.UTC) - statistics.since).total_seconds()
    shapes = merged(captured.shapes, statistics.statements, naming=postgres_naming())
    return Workload(using, tuple(shapes), seconds)


def read_capture(using: str = "default", *, since: dt.timedelta | None = None) -> Workload:
    """Return what the project's own processes have counted of a database; see `read_workload`.

    It is empty where perfkit's tables are not there.
    """
    if not has_tables(using):
        return Workload(using, ())
    counts = WorkloadCount.objects.using(using)
    if since is not None:
        begin = timezone.now() - since
        counts = counts.filter(hour__gte=int(begin.timestamp() // HOUR_SECONDS))
    sums = {
        digest: (calls, microseconds)
        for digest, calls, microseconds in counts.values_list("shape_digest").annotate(
            Sum("calls"), Sum("microseconds")
        )
    }
    statements: defaultdict[str, list[str]] = defaultdict(list)
    takings: defaultdict[str, int] = defaultdict(int)
    callers: defaultdict[str, dict[str, None]] = defaultdict(dict)
    shows_values = options.WORKLOAD_VALUES == "kept"
    for sample in WorkloadSample.objects.using(using).order_by("taken_at", "pk"):
        if sample.statement and shows_values:
            statements[sample.shape_digest].append(sample.statement)
            takings[sample.shape_digest] += sample.takings
        if sample.caller != "-":
            callers[sample.shape_digest][sample.caller] = None
    shapes = [
        QueryShape(
            text,
            sums[digest][0],
            sums[digest][1] / 1_000_000,
            tuple(statements[digest]),
            tuple(callers[digest]),
            (CAPTURE,),
            takings[digest],
        )
        for digest, text in WorkloadShape.objects.using(using).values_list("digest", "fingerprint")
        if digest in sums
    ]
    shapes.sort(key=lambda shape: (-shape.total_seconds, shape.fingerprint))
    return Workload(using, tuple(shapes), _listened_seconds(using, since))


def difference(before: Workload, after: Workload, *, seconds: float) -> Workload:
    """Return what came between two readings of the same database."""
    known = {shape.fingerprint: shape for shape in before.shapes}
    shapes = []
    for shape in after.shapes:
        former = known.get(shape.fingerprint)
        calls, spent = (former.calls, former.total_seconds) if former is not None else (0, 0.0)
        if shape.calls > calls:
            more = max(0.0, shape.total_seconds - spent)
            shapes.append(replace(shape, calls=shape.calls - calls, total_seconds=more))
    shapes.sort(key=lambda shape: (-shape.total_seconds, shape.fingerprint))
    return Workload(after.alias, tuple(shapes), seconds)


def postgres_naming() -> Naming | None:
    """Return what names statements by PostgreSQL's own parser, None where pglast is not installed."""
    try:
        from pglast.parser import ParseError, fingerprint
    except ImportError:
        return None

    def name(sql: str) -> str | None:
        try:
            return str(fingerprint(sql))
        except ParseError:
            return None

    return name


def _listened_seconds(using: str, since: dt.timedelta | None) -> float | None:
    span = WorkloadShape.objects.using(using).aggregate(first=Min("first_at"), last=Max("last_at"))
    if span["first"] is None:
        return None
    first = span["first"] if since is None else max(span["first"], timezone.now() - since)
    return max(0.0, float((span["last"] - first).total_seconds()))
