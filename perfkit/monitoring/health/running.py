"""Runs checks, each in a thread of its own, and does not wait for those that hang.

# Note [Checks that hang]
A server that takes connections and never answers holds whoever asks it, and no thread can be ended from outside.
So a check that is given up stays behind with its thread, and with the connection that it had. While it stands
there it is not begun again: all that a server which hangs can cost is one thread, and one connection, of each
check. After a minute it is left for good and begun anew, for its connection may be the one thing that is dead;
of those that were left, there are never more than three.
The threads are daemons, so they do not keep a process from ending.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from django.db import connections

from perfkit.conf import options
from perfkit.monitoring.health.registry import Call
from perfkit.monitoring.health.results import CheckResult, Finding, Report, Status, failed
from perfkit.secrecy import told

logger = logging.getLogger("perfkit.health")

LEFT_AFTER_SECONDS: Final = 60.0
MOST_LEFT: Final = 3


class Flight:
    """A check that runs, or has run."""

    def __init__(self, call: Call, *, begun: float, clock: Callable[[], float]) -> None:
        self.begun = begun
        self.ended = threading.Event()
        self.finding = Finding()
        self.seconds = 0.0
        self._call = call
        self._clock = clock
        threading.Thread(target=self._run, name=f"perfkit-health-{call.name}", daemon=True).start()

    def _run(self) -> None:
        try:
            self.finding = self._call()
        except Exception as error:  # noqa: BLE001  # whatever a check raises is what it has found
            self.finding = failed(told(error))
        finally:
            self.seconds = self._clock() - self.begun
            try:
                connections.close_all()
            finally:
                self.ended.set()


class Runner:
    """Runs the checks of a process.

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
        self._flights: dict[str, Flight] = {}
        self._left: dict[str, list[Flight]] = {}
        self._told: dict[str, Status] = {}

    def run(self, calls: Sequence[Call], *, seconds: float) -> Report:
        """Run all of them at the same time, and return what they came to after so many seconds at the most."""
        begun = self._clock()
        flights = [(call, self._flight(call)) for call in calls]
        results = []
        for call, flight in flights:
            limit = seconds if call.timeout_seconds is None else min(seconds, call.timeout_seconds)
            has_ended = flight.ended.wait(max(0.0, begun + limit - self._clock()))
            results.append(self._result(call.name, flight, has_ended=has_ended))
        self._tell(results)
        return Report(tuple(results))

    def _flight(self, call: Call) -> Flight:
        """Return the run of a check that is under way, or begin one; see Note [Checks that hang]."""
        with self._lock:
            now = self._clock()
            known = self._flights.get(call.name)
            if known is not None and not known.ended.is_set():
                left = [each for each in self._left.get(call.name, ()) if not each.ended.is_set()]
                if now - known.begun < LEFT_AFTER_SECONDS or len(left) >= MOST_LEFT:
                    return known
                self._left[call.name] = [*left, known]
            flight = self._flights[call.name] = Flight(call, begun=now, clock=self._clock)
            return flight

    def _result(self, name: str, flight: Flight, *, has_ended: bool) -> CheckResult:
        if has_ended:
            finding, seconds = flight.finding, flight.seconds
        else:
            seconds = self._clock() - flight.begun
            finding = failed(f"no answer for {seconds:.1f} s")
        status = finding.status
        if status is Status.FAILED and not {name, name.partition(".")[0]}.isdisjoint(
            options.HEALTH_TOLERATED
        ):
            status = Status.DEGRADED
        return CheckResult(name, status, seconds, finding.message)

    def _tell(self, results: Sequence[CheckResult]) -> None:
        """Log what has changed: a probe comes every few seconds, and an outage is told once."""
        with self._lock:
            changed = [
                result for result in results if self._told.get(result.name, Status.OK) is not result.status
            ]
            self._told.update({result.name: result.status for result in changed})
        for result in changed:
            level = logging.INFO if result.status is Status.OK else logging.WARNING
            logger.log(
                level,
                "The health check %s is %s: %s",
                result.name,
                result.status.value,
                result.message or "-",
            )


runner: Final = Runner()
"""That of this process."""
