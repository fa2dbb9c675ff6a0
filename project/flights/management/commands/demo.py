"""`manage.py demo`: measure the real data before and after, and print the table."""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import sys
from pathlib import Path
from typing import Any, Final

import django
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from project.flights.measures import Measure, all_measures
from project.flights.models import Flight
from project.services import report_path

NEXT: Final = """
What to try next:
  make serve    the site: the API and its documentation at /api/docs, the admin at /admin/
  make bench    bulk_insert() against its peers; ROOM=caching for the cache
  make stop     stop the servers"""


class Command(BaseCommand):
    """Measures what perfkit changes, on the flights that `load_flights` has loaded."""

    help = "Measure the same work with Django alone and with perfkit, and print a table."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare where the figures go."""
        parser.add_argument(
            "--json",
            type=Path,
            metavar="FILE",
            default=report_path(),
            help="Where the figures go (%(default)s).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure, print each row as it comes, write JSON."""
        flights = Flight.objects.count()
        if not flights:
            raise CommandError("There are no flights yet: run `manage.py load_flights` first.")
        report: Path = options["json"]
        if not report.parent.is_dir():
            raise CommandError(f"There is no folder {report.parent} to write the figures to.")
        version = ".".join(map(str, connection.get_database_version()))
        self.stdout.write(
            f"\n{flights:,} flights on {connection.display_name} {version}, Django {django.__version__}, "
            f"Python {platform.python_version()}\n\n"
        )
        self.stdout.write(_line("work", "before", "after", "ratio"))
        self.stdout.write("-" * len(_line("", "", "", "")))
        logging.getLogger("perfkit.queries").setLevel(logging.ERROR)  # some of it is slow on purpose
        measures = []
        for measure in all_measures():
            measures.append(measure)
            self.stdout.write(_row(measure))
            self.stdout.flush()
        environment = {
            "flights": flights,
            "database": f"{connection.display_name} {version}",
            "django": django.__version__,
            "python": platform.python_version(),
            "platform": sys.platform,
        }
        figures = {"environment": environment, "measures": [measure.as_dict() for measure in measures]}
        report.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        self.stdout.write(f"\nThe figures are in {os.path.relpath(report)}.\n{NEXT}")


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
    return f"{work:<38}  {before:<37}  {after:<34}  {ratio:>8}"
