"""The figures that stand side by side: those of the whole, and those of one thing. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext as _

from perfkit.admin.monitoring.cells import Tile
from perfkit.admin.monitoring.figures import decimal, duration, percent, whole
from perfkit.monitoring.figures import CacheFigures, QueryFigures, RequestFigures, TaskFigures
from perfkit.monitoring.summary import Summary


def of_all(summary: Summary) -> list[Tile]:
    """Return the figures of the whole."""
    requests, queries = summary.requests, summary.queries
    waits = [wait.timing.p95_seconds for wait in summary.waits if wait.timing.p95_seconds is not None]
    shares = [pool.share for pool in summary.pools if pool.share is not None]
    return [
        Tile(_("Requests a second"), decimal(summary.requests_per_second, 2), "#views"),
        Tile(_("Failed"), percent(requests.failed_share, 2), "#views"),
        Tile(_("P95"), duration(requests.timing.p95_seconds), "#views"),
        Tile(_("Time in the database"), percent(requests.database_share), "#statements"),
        Tile(_("Slow queries"), percent(queries.slow_share, 2), "#statements"),
        Tile(_("Hit rate"), percent(summary.cache.hit_rate), "#reads"),
        Tile(_("Longest wait of a queue, P95"), duration(max(waits, default=None)), "#queues"),
        Tile(_("Fullest pool"), percent(max(shares, default=None)), "#pools"),
    ]


def facts(pairs: Iterable[tuple[str, str]]) -> list[Tile]:
    """Return tiles that lead nowhere."""
    return [Tile(name, text, "") for name, text in pairs]


def of_view(each: RequestFigures, seconds: float) -> list[Tile]:
    """Return the figures of one view."""
    return facts(
        [
            (_("Requests"), whole(each.timing.count)),
            (_("Requests a second"), decimal(each.timing.count / seconds, 2)),
            (_("Failed (500 and above)"), f"{whole(each.failed)} ({percent(each.failed_share, 2)})"),
            (_("Refused (400 to 499)"), whole(each.refused)),
            (_("P50"), duration(each.timing.p50_seconds)),
            (_("P95"), duration(each.timing.p95_seconds)),
            (_("P99"), duration(each.timing.p99_seconds)),
            (_("Queries each"), decimal(each.queries_each)),
            (_("Time in the database"), percent(each.database_share)),
        ]
    )


def of_statement(each: QueryFigures) -> list[Tile]:
    """Return the figures of one statement."""
    return facts(
        [
            (_("Calls"), whole(each.timing.count)),
            (_("In total"), duration(each.timing.total_seconds)),
            (_("On average"), duration(each.timing.mean_seconds)),
            (_("P50"), duration(each.timing.p50_seconds)),
            (_("P95"), duration(each.timing.p95_seconds)),
            (_("P99"), duration(each.timing.p99_seconds)),
            (_("Slow"), f"{whole(each.slow)} ({percent(each.slow_share, 2)})"),
            (_("Failed"), whole(each.failed)),
        ]
    )


def of_reads(each: CacheFigures) -> list[Tile]:
    """Return the figures of one model's or function's cached reads."""
    return facts(
        [
            (_("Hits"), whole(each.hits)),
            (_("Misses"), whole(each.misses)),
            (_("Hit rate"), percent(each.hit_rate)),
            (_("Bypasses"), whole(each.bypassed)),
        ]
    )


def of_task(each: TaskFigures) -> list[Tile]:
    """Return the figures of one task."""
    return facts(
        [
            (_("Runs"), whole(each.timing.count)),
            (_("Retries"), whole(each.retries)),
            (_("P50"), duration(each.timing.p50_seconds)),
            (_("P95"), duration(each.timing.p95_seconds)),
            (_("P99"), duration(each.timing.p99_seconds)),
        ]
    )
