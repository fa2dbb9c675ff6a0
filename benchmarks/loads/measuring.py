"""What it costs to measure requests and queries, beside none of it and beside django-prometheus."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from django.core.handlers.base import BaseHandler
from django.db import connections
from django.test import RequestFactory, override_settings

from benchmarks.figures import Figure
from benchmarks.loads.measured_site import QUERIES, Site
from benchmarks.loads.scene import Section
from benchmarks.rounds import play
from perfkit.conf import configured
from perfkit.monitoring import statements
from perfkit.monitoring.recording import recorder

PEER_ALIAS: Final = "prometheus"
TURN_SECONDS: Final = 3.0
"""Longer than `METRICS_INTERVAL`, so that a turn bears what its own events cost to tell."""

OWN: Final = ("perfkit.tracing.request_id_middleware", "perfkit.monitoring.metrics")
PEERS: Final = (
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
)
OFF: Final = {"METRICS_ENABLED": False}
ON: Final = {
    "METRICS_ENABLED": True,
    "CACHE_TIMEOUT": 5.0,
    "SERVER_TIMING": "all",
}


@dataclass
class Way:
    """The page of twenty queries under one set of settings.

    Attributes:
        milliseconds: Of each request.
        spent_seconds: Of each turn, by request: with what is done between requests.
    """

    name: str
    middleware: tuple[str, ...]
    options: dict[str, Any]
    alias: str = "default"
    measures: bool = False
    milliseconds: list[float] = field(default_factory=list)
    spent: list[float] = field(default_factory=list)

    def take_turn(self) -> None:
        """Answer requests for some time; what was recorded is told before the turn ends."""
        with override_settings(MIDDLEWARE=list(self.middleware), PERFKIT={**configured(), **self.options}):
            handler = BaseHandler()
            handler.load_middleware()
            Site.alias = self.alias
            with _wrapped() if self.measures else _bare():
                handler.get_response(FACTORY.get("/lists/"))
                self._answer(handler)

    def _answer(self, handler: BaseHandler) -> None:
        begun = now = time.perf_counter()
        cpu = time.process_time()
        times: list[float] = []
        while now - begun < TURN_SECONDS:
            response = handler.get_response(FACTORY.get("/lists/"))
            response.close()
            after = time.perf_counter()
            times.append((after - now) * 1000)
            now = after
        if self.measures:
            recorder.tell()
        self.milliseconds += times
        self.spent.append((time.process_time() - cpu) / len(times))


FACTORY: Final = RequestFactory()


def overhead(*, rounds: int, seconds: float) -> Section:
    """Answer the page with everything on, with nothing, and with django-prometheus, in turns."""
    off = Way("nothing measured", (), OFF)
    on = Way("perfkit, everything on", OWN, ON, measures=True)
    commented = Way("perfkit, and SQL comments", OWN, {**ON, "SQL_COMMENTS": True}, measures=True)
    peer = Way("django-prometheus", PEERS, OFF, alias=PEER_ALIAS)
    ways = [off, on, commented, peer]
    play(ways, rounds=rounds, budget_seconds=seconds)
    connections[PEER_ALIAS].close()
    plain = statistics.median(off.milliseconds)
    lines: list[tuple[str, ...]] = [
        (
            f"a request of {QUERIES} queries, {way.name}",
            f"{statistics.median(way.milliseconds):.2f}",
            f"{_p99(way.milliseconds):.2f}",
            f"{statistics.median(way.spent) * 1000:.2f}",
        )
        for way in ways
    ]
    # Of turns next to each other, for the machine is not as quick at all times.
    cost, peers = (
        statistics.median(spent - bare for spent, bare in zip(way.spent, off.spent, strict=True)) * 1e6
        for way in (on, peer)
    )
    ratio = statistics.median(theirs / ours for theirs, ours in zip(peer.spent, on.spent, strict=True))
    return Section(
        lines,
        [
            Figure(
                "everything on: median",
                (statistics.median(on.milliseconds) / plain - 1) * 100,
                "%",
                1,
                "lower",
            ),
            Figure(
                "everything on: p99",
                (_p99(on.milliseconds) / _p99(off.milliseconds) - 1) * 100,
                "%",
                3,
                "lower",
            ),
            Figure(
                "and SQL comments: median",
                (statistics.median(commented.milliseconds) / plain - 1) * 100,
                "%",
                None,
                "lower",
            ),
            Figure("processor time of a request, perfkit", cost, "us", None, "lower"),
            Figure("processor time of a request, django-prometheus", peers, "us", None, "lower"),
            Figure(
                "a request with django-prometheus / with perfkit, processor time", ratio, "times", 1, "higher"
            ),
        ],
    )


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


@contextmanager
def _wrapped() -> Iterator[None]:
    statements.install()
    yield


@contextmanager
def _bare() -> Iterator[None]:
    """Have nothing around statements."""
    statements.uninstall()
    try:
        yield
    finally:
        statements.install()
