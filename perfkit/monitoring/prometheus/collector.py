"""Reads what is told to Prometheus, and stands in prometheus_client's registry."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from prometheus_client import REGISTRY
from prometheus_client.core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from perfkit.caching.coherence import breaker
from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.store import StoreError
from perfkit.errors import SettingsError
from perfkit.monitoring.boards import PROCESSES, boards, living
from perfkit.monitoring.ledgers import Ledger, current_ledger
from perfkit.monitoring.prometheus.families import Lag, Snapshot, families
from perfkit.monitoring.prometheus.lag import LagReader
from perfkit.monitoring.recording import recorder
from perfkit.monitoring.series import TOTALS, total_page

logger: Final = logging.getLogger("perfkit.monitoring")

ATTEMPTS: Final = 2
"""What was not read in time may be the second time; without an answer all series would end."""


class MetricsCollector(Collector):
    """Tells the figures of all processes that share the cache server, whichever of them is asked.

    Where that server does not answer, `perfkit_metrics_up` is 0, and what is made of its figures has no series.
    With a `LocMemCache` the figures are those of the process that is asked.

    Queries:
        Two or three round trips to the cache server; three queries at most every 15 seconds.
    """

    def __init__(self) -> None:
        self._lag = LagReader()

    def describe(self) -> Iterator[Metric]:
        """Yield the metrics without their series, so that a registry knows the names and asks nobody."""
        return families(Snapshot())

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they stand."""
        return families(self._snapshot())

    def _snapshot(self) -> Snapshot:
        lag = self._lag.lag()
        try:
            ledger = current_ledger()
            if not (ledger.is_shared and breaker.rests):
                recorder.tell()
                return self._read(ledger, lag)
        except (StoreError, SettingsError) as error:
            logger.info("There are no figures for Prometheus: %s", error)
        return Snapshot(lag=lag, is_up=False)

    def _read(self, ledger: Ledger, lag: Lag) -> Snapshot:
        for attempt in range(ATTEMPTS):
            try:
                pages = ledger.read([total_page(kind) for kind in TOTALS])
                [found] = ledger.posted([PROCESSES])
                processes = living(ledger, found, now=boards.ledger_seconds())
                break
            except StoreError:
                if attempt + 1 == ATTEMPTS:
                    raise
        told = dict(zip(TOTALS, pages, strict=True))
        return Snapshot(told, processes or [boards.process(lost=recorder.lost)], lag)


collector: Final = MetricsCollector()
_registries: Final[list[CollectorRegistry]] = []
_lock: Final = fork_safe_lock()


def register(registry: CollectorRegistry = REGISTRY) -> None:
    """Have a registry tell perfkit's metrics with its own; calling it again changes nothing.

    It is done for prometheus_client's own registry where django-prometheus is among `INSTALLED_APPS`.

    Queries: none.
    """
    with _lock:
        if not any(known is registry for known in _registries):
            registry.register(collector)
            _registries.append(registry)


def is_registered(registry: CollectorRegistry) -> bool:
    """Say whether a registry tells perfkit's metrics."""
    return any(known is registry for known in _registries)
