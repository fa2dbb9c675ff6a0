"""Room monitoring: what it costs to measure, and what is kept of it."""

from __future__ import annotations

import logging
from typing import Final

from django.test import override_settings

from benchmarks.cache_server import cache_server
from benchmarks.figures import Report
from benchmarks.loads.dashboard import page
from benchmarks.loads.measuring import overhead
from benchmarks.loads.remembering import EVENTS, kept
from benchmarks.timetable.tables import fill_tables

PEERS: Final = ("django-prometheus",)
FLIGHTS: Final = 5_000
CACHE_DATABASE: Final = 6


def measure(*, is_quick: bool) -> Report:
    """Answer requests of twenty queries in several ways, in turns; then fill the ledger."""
    logging.getLogger("perfkit.queries").disabled = True
    fill_tables(FLIGHTS)
    rounds, seconds = (300, 30.0) if is_quick else (10_000, 750.0)
    with cache_server([CACHE_DATABASE]) as server:
        caches = {
            "default": {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": server.url(CACHE_DATABASE),
            }
        }
        with (
            override_settings(CACHES=caches, ROOT_URLCONF="benchmarks.loads.measured_site"),
            server.client(CACHE_DATABASE) as client,
        ):
            sections = [overhead(rounds=rounds, seconds=seconds)]
            client.flushdb()
            sections.append(kept(client, events=EVENTS // 5 if is_quick else EVENTS))
            sections.append(page(times=10 if is_quick else 40))
    lines: list[tuple[str, ...]] = [
        ("what is measured", "median ms or MiB", "p99 ms", "processor ms on average")
    ]
    return Report(
        "monitoring",
        f"{'A quick run: ' if is_quick else ''}Requests in process, each of 20 queries of 20 rows; "
        f"at most {rounds:,} requests each, one in turn.",
        lines + [line for section in sections for line in section.lines],
        [figure for section in sections for figure in section.figures],
    )
