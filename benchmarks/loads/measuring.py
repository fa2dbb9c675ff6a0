"""What it costs to measure requests and queries, beside none of it and beside django-prometheus."""

from __future__ import annotations

import math
import statistics
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from django.core.handlers.base import BaseHandler
from django.db import connections
from django.test import RequestFactory, override_settings

from benchmarks.figures import Figure
from benchmarks.loads.measured_site import QUERIES, Site
from benchmarks.loads.scene import Section
from benchmarks.rounds import play
from perfkit.conf import Options, configured
from perfkit.monitoring import statements
from perfkit.monitoring.recording import recorder

PEER_ALIAS: Final = "prometheus"
TELLING_SECONDS: Final = Options.METRICS_INTERVAL.default
"""So often a process tells what it has measured, by itself; here after so much time of what measures."""

QUARTILES_APART: Final = 1.349
"""In standard deviations of the normal distribution."""

OWN: Final = ("perfkit.tracing.request_id_middleware", "perfkit.monitoring.metrics")
PEERS: Final = (
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
)
ON: Final = {
    "METRICS_ENABLED": True,
    "METRICS_INTERVAL": 60,  # a thread of its own would tell in others' turns, too
    "CACHE_TIMEOUT": 5.0,
    "SERVER_TIMING": "all",
}


@dataclass
class Way:
    """The page of twenty queries with something around it, or nothing.

    Attributes:
        milliseconds: Of each request.
        spent: Processor seconds of each request: with those of telling.
    """

    name: str
    middleware: tuple[str, ...]
    alias: str = "default"
    measures: bool = False
    milliseconds: list[float] = field(default_factory=list)
    spent: list[float] = field(default_factory=list)
    untold_seconds: float = 0.0

    @cached_property
    def handler(self) -> BaseHandler:
        """What answers, warm."""
        handler = BaseHandler()
        with override_settings(MIDDLEWARE=list(self.middleware)):
            handler.load_middleware()
        handler.get_response(FACTORY.get("/lists/"))
        return handler

    def take_turn(self) -> None:
        """Answer one request; meanwhile a thread tells what was recorded, where it is time to."""
        Site.alias = self.alias
        # Before each request, whoever had the turn before: all of them are to begin alike.
        statements.uninstall()
        if self.measures:
            statements.install()
        self._answer(self.handler)

    def _answer(self, handler: BaseHandler) -> None:
        request = FACTORY.get("/lists/")
        teller = threading.Thread(target=recorder.tell)
        is_due = self.measures and self.untold_seconds >= TELLING_SECONDS
        cpu, begun = time.process_time(), time.perf_counter()
        if is_due:
            teller.start()
        handler.get_response(request).close()
        seconds = time.perf_counter() - begun
        if is_due:
            teller.join()
        self.spent.append(time.process_time() - cpu)
        self.milliseconds.append(seconds * 1000)
        self.untold_seconds = seconds if is_due else self.untold_seconds + seconds


FACTORY: Final = RequestFactory()


def overhead(*, rounds: int, seconds: float) -> Section:
    """Answer the page with nothing and with everything on, with django-prometheus, and with SQL comments.

    Each of the three is compared with requests around its own, with nothing on. The first has most of the time: a
    percent of a request is less than what one request differs from the next by.
    """
    off, on = Way("nothing measured", ()), Way("perfkit, everything on", OWN, measures=True)
    bare, peer = Way("nothing measured", ()), Way("django-prometheus", PEERS, alias=PEER_ALIAS)
    plain, commented = Way("nothing measured", ()), Way("perfkit, and SQL comments", OWN, measures=True)
    with override_settings(PERFKIT={**configured(), **ON}):
        play([off, on], rounds=rounds, budget_seconds=seconds * 0.8)
        play([bare, peer], rounds=rounds, budget_seconds=seconds * 0.1)
        recorder.tell()
    with override_settings(PERFKIT={**configured(), **ON, "SQL_COMMENTS": True}):
        play([plain, commented], rounds=rounds, budget_seconds=seconds * 0.1)
        recorder.tell()
    statements.install()
    connections[PEER_ALIAS].close()
    lines: list[tuple[str, ...]] = [
        (
            f"a request of {QUERIES} queries, {way.name}",
            f"{statistics.median(way.milliseconds):.2f}",
            f"{_p99(way.milliseconds):.2f}",
            f"{statistics.fmean(way.spent) * 1000:.2f}",
        )
        for way in (off, on, commented, peer)
    ]
    return Section(
        lines,
        [
            Figure("everything on: median", _slower(on, off), "%", 1, "lower"),
            Figure("its standard error", _standard_error(on, off), "%", None, "lower"),
            Figure(
                "everything on: p99",
                (_p99(on.milliseconds) / _p99(off.milliseconds) - 1) * 100,
                "%",
                3,
                "lower",
            ),
            Figure("and SQL comments: median", _slower(commented, plain), "%", None, "lower"),
            Figure("processor time of a request, perfkit", _spent(on, off), "us", None, "lower"),
            Figure("processor time of a request, django-prometheus", _spent(peer, bare), "us", None, "lower"),
            Figure(
                "a request with django-prometheus / with perfkit, processor time",
                _dearer(peer, bare) / _dearer(on, off),
                "times",
                1,
                "higher",
            ),
        ],
    )


def _differences(one: Way, other: Way) -> list[float]:
    """Return how much longer each request took than the one beside it, in milliseconds."""
    return [mine - theirs for mine, theirs in zip(one.milliseconds, other.milliseconds, strict=True)]


def _slower(one: Way, other: Way) -> float:
    """Return how much longer the median request takes, in percent, of requests one after the other."""
    return statistics.median(_differences(one, other)) / statistics.median(other.milliseconds) * 100


def _standard_error(one: Way, other: Way) -> float:
    """Return that of `_slower`, in percent, as if the differences were normally distributed."""
    differences = _differences(one, other)
    quarter, _, three_quarters = statistics.quantiles(differences, n=4)
    deviation = (three_quarters - quarter) / QUARTILES_APART
    of_the_median = deviation * math.sqrt(math.pi / 2 / len(differences))
    return of_the_median / statistics.median(other.milliseconds) * 100


def _spent(one: Way, other: Way) -> float:
    """Return how much more processor time a request takes on average, in microseconds."""
    return (statistics.fmean(one.spent) - statistics.fmean(other.spent)) * 1e6


def _dearer(one: Way, other: Way) -> float:
    """Return how many times the processor time a request takes on average."""
    return statistics.fmean(one.spent) / statistics.fmean(other.spent)


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]
