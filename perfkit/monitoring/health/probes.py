"""Probes: which checks each runs, and that many who ask at the same time are given one answer."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswerError
from typing import Final, Literal, get_args

from perfkit.conf import options
from perfkit.errors import UsageError, nearest
from perfkit.monitoring.health.registry import Call, all_names, calls_of
from perfkit.monitoring.health.results import CheckResult, Report, Status
from perfkit.monitoring.health.running import runner

Probe = Literal["live", "ready", "workers", "all"]

SHARED_SECONDS: Final = 1.0
"""For so long what a probe has found is told to others."""

FOR_CHECKS: Final = 0.9
"""Of `HEALTH_TIMEOUT`; the rest is for the answer."""

OF_WORKERS: Final = ("broker", "workers", "jobs", "schedules")


def check_health(probe: Probe = "ready") -> Report:
    """Run the checks of a probe, or return what they came to less than a second ago, and return the report.

    Args:
        probe: `"live"` runs none, `"ready"` those that `HEALTH_READY` names, `"workers"` those of what is done
            outside of requests, `"all"` all there are.

    Raises:
        UsageError: There is no such probe.
        SettingsError: `HEALTH_READY` names what is no check.

    Queries:
        Two or three for each database, in other threads and on connections of their own.
    """
    calls = _calls(probe)
    if not calls:
        return Report()
    try:
        return shared.run(calls).result(timeout=options.HEALTH_TIMEOUT)
    except NoAnswerError:
        return _unanswered(probe)


async def acheck_health(probe: Probe = "ready") -> Report:
    """Do the same from a coroutine; needs none of the loop's own threads, which may all hang."""
    calls = _calls(probe)
    if not calls:
        return Report()
    try:
        running = asyncio.shield(asyncio.wrap_future(shared.run(calls)))
        return await asyncio.wait_for(running, options.HEALTH_TIMEOUT)
    except TimeoutError:
        return _unanswered(probe)


def _calls(probe: Probe) -> list[Call]:
    if probe not in get_args(Probe):
        raise UsageError(f"There is no probe {probe!r}.{nearest(str(probe), get_args(Probe))}")
    if probe == "live":
        return []
    names = {"ready": options.HEALTH_READY, "workers": OF_WORKERS}.get(probe)
    return calls_of(all_names() if names is None else names, option="HEALTH_READY")


def _unanswered(probe: Probe) -> Report:
    text = f"{probe}: no thread was free in time"
    return Report((CheckResult("probe", Status.FAILED, options.HEALTH_TIMEOUT, text),))


class Shared:
    """One run of the same checks for all who ask within a second.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begin_anew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[tuple[str, ...], Future[Report]] = {}
        self._ended: dict[tuple[str, ...], float] = {}

    def run(self, calls: Sequence[Call]) -> Future[Report]:
        """Return the report that is to come, or has come."""
        key = tuple(call.name for call in calls)
        with self._lock:
            known = self._runs.get(key)
            if known is not None and (not known.done() or self._clock() - self._ended[key] < SHARED_SECONDS):
                return known
            future: Future[Report] = Future()
            future.set_running_or_notify_cancel()  # from now on nobody who stops waiting can cancel it
            threading.Thread(
                target=self._run, args=(key, calls, future), name="perfkit-health", daemon=True
            ).start()
            self._runs[key] = future
            return future

    def forget(self) -> None:
        """Have the next probe run its checks, whenever the last one was."""
        with self._lock:
            self._runs.clear()

    def _run(self, key: tuple[str, ...], calls: Sequence[Call], future: Future[Report]) -> None:
        # Whatever fails here, such as a thread that cannot be begun, nobody is to wait for it for ever.
        report = Report((CheckResult("probe", Status.FAILED, 0.0, "the checks could not be run"),))
        try:
            report = runner.run(calls, seconds=FOR_CHECKS * options.HEALTH_TIMEOUT)
        finally:
            self._ended[key] = self._clock()
            future.set_result(report)


shared: Final = Shared()
"""That of this process."""
