"""`manage.py demo`: measure the real data before and after, and print the table."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any

import django
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from project.flights.measures import Measure, all_measures
from project.flights.models import Flight


class Command(BaseCommand):
    """Measures what perfkit changes, on the flights that `load_flights` has loaded."""

    help = "Measure the same work with Django alone and with perfkit, and print a table."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare where the figures go."""
        parser.add_argument("--json", type=Path, metavar="FILE", help="Write the figures there too.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure, print each row as it comes, write JSON."""
        flights = Flight.objects.count()
        if not flights:
            raise CommandError("There are no flights yet: run `manage.py load_flights` first.")
        report: Path | None = options["json"]
        if report is not None and not report.parent.is_dir():
            raise CommandError(f"There is no folder {report.parent} to write the figures to.")
        version = ".".join(map(str, connection.get_database_version()))
        self.stdout.write(
            f"\n{flights:,} flights on {connection.display_name} {version}, Django {django.__version__}, "
            f"Python {platform.python_version()}\n\n"
        )
        self.stdout.write(_line("work", "before", "after", "ratio"))
        self.stdout.write("-" * len(_line("", "", "", "")))
        measures = []
        for measure in all_measures():
            measures.append(measure)
            self.stdout.write(_row(measure))
            self.stdout.flush()
        if report is not None:
            environment = {
                "flights": flights,
                "database": f"{connection.display_name} {version}",
                "django": django.__version__,
                "python": platform.python_version(),
                "platform": sys.platform,
            }
            figures = {"environment": environment, "measures": [measure.as_dict() for measure in measures]}
            report.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
            self.stdout.write(f"\nThe figures are in {report}.")


def _row(measure: Measure) -> str:
    return _line(
        measure.work,
        f"{_figure(measure.before, measure.unit)}  {measure.before_way}",
        f"{_figure(measure.after, measure.unit)}  {measure.after_way}",
        f"{measure.ratio:,.1f} x",
    )


def _figure(value: float, unit: str) -> str:
    return f"{value:>9,.0f} {unit}" if unit == "rows/s" else f"{value:>9,.2f} {unit:<6}"


def _line(work: str, before: str, after: str, ratio: str) -> str:
    return f"{work:<34}  {before:<40}  {after:<44}  {ratio:>8}"
