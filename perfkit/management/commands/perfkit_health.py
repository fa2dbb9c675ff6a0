"""`manage.py perfkit_health`: how what the project needs stands, for people and for containers."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from perfkit.errors import PerfkitError
from perfkit.monitoring.health.probes import Probe, check_health
from perfkit.monitoring.health.results import Status

CODES: Final = {Status.OK: 0, Status.DEGRADED: 1, Status.FAILED: 2}
CODES_OF_CONTAINERS: Final = {Status.OK: 0, Status.DEGRADED: 0, Status.FAILED: 1}


class Command(BaseCommand):
    """Runs the checks of a probe in this process."""

    help = (
        "Check what the project needs; exits with 0 if it is well, 1 if degraded, 2 if something has failed."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the probes and the form."""
        probes = parser.add_mutually_exclusive_group()
        for probe, text in (
            ("live", "Nothing: that the project starts."),
            ("ready", "What HEALTH_READY names; so it is if left out."),
            ("workers", "Broker, workers, jobs and schedules."),
            ("all", "All checks."),
        ):
            probes.add_argument(f"--{probe}", action="store_const", const=probe, dest="probe", help=text)
        parser.add_argument("--json", action="store_true", dest="as_json", help="As JSON.")
        parser.add_argument(
            "--container",
            action="store_true",
            help="Exit with 0 if degraded and 1 if something has failed, as HEALTHCHECK of Docker wants it.",
        )

    def handle(self, *_args: Any, probe: Probe | None, as_json: bool, container: bool, **_: Any) -> None:
        """Run them.

        Raises:
            CommandError: `HEALTH_READY` names what is no check.
        """
        try:
            report = check_health(probe or "ready")
        except PerfkitError as error:
            raise CommandError(str(error), returncode=CODES[Status.FAILED]) from error
        if as_json:
            self.stdout.write(json.dumps(report.as_dict(has_details=True), indent=2))
        else:
            self.stdout.write(report.as_text(has_details=True), ending="")
        sys.exit((CODES_OF_CONTAINERS if container else CODES)[report.status])
