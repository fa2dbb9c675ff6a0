"""How a check stands, asked anew each time."""

from __future__ import annotations

from perfkit.conf import options
from perfkit.monitoring.health import CheckResult
from perfkit.monitoring.health.probes import FOR_CHECKS
from perfkit.monitoring.health.registry import calls_of
from perfkit.monitoring.health.running import runner


def result(name: str) -> CheckResult:
    (found,) = runner.run(
        calls_of([name], option="HEALTH_READY"), seconds=FOR_CHECKS * options.HEALTH_TIMEOUT
    ).checks
    return found


def standing(name: str) -> tuple[str, str]:
    found = result(name)
    return found.status.value, found.message
