"""`manage.py perfkit_slow_queries`: the queries that take longest, where they come from, and their plans."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections

from perfkit.conf import options as settings
from perfkit.errors import PerfkitError
from perfkit.management.workload_text import slow_json, slow_lines
from perfkit.postgres.statement_statistics import statement_statistics
from perfkit.workload import SlowQuery, explain_sample, flush_workload, read_workload, slow_queries
from perfkit.workload.slowest import WAYS


class Command(BaseCommand):
    """Shows the slowest queries of all processes."""

    help = (
        "Show the queries that take longest on average, from pg_stat_statements and from what the project's "
        "processes have captured: with their model, the lines that send them and, where asked for, their plans."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--by", choices=WAYS, default="mean", help="What comes first; mean if left out.")
        parser.add_argument(
            "--threshold",
            type=float,
            default=100.0,
            metavar="MS",
            help="Least mean time; 100 ms if left out.",
        )
        parser.add_argument(
            "--limit", type=int, default=20, metavar="N", help="Show the first N; 20 if left out."
        )
        parser.add_argument(
            "--explain",
            type=int,
            default=0,
            metavar="N",
            help="Show the plans of the first N, of one example each.",
        )
        parser.add_argument("--analyze", action="store_true", help="Run these to count rows and times.")
        parser.add_argument("--values", action="store_true", help="Show the examples, with their values.")
        parser.add_argument("--json", action="store_true", dest="as_json", help="As JSON.")
        parser.add_argument(
            "--database", default=DEFAULT_DB_ALIAS, choices=tuple(connections), help="Its alias."
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print the report.

        Raises:
            CommandError: The database does not answer, or an option is out of range.
        """
        if options["limit"] < 1 or options["explain"] < 0 or options["threshold"] < 0:
            raise CommandError("--limit must be at least 1, --explain and --threshold must not be negative.")
        try:
            self._show(**options)
        except PerfkitError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(f"The database says: {str(error).partition(chr(10))[0]}") from error

    def _show(
        self,
        *,
        by: Any,
        threshold: float,
        limit: int,
        explain: int,
        analyze: bool,
        values: bool,
        as_json: bool,
        database: str,
        **_: Any,
    ) -> None:
        flush_workload()
        found = slow_queries(read_workload(database), by=by, threshold_ms=threshold, most=limit)
        plans = [
            self._plan(each, database, analyze=analyze) if number < explain else None
            for number, each in enumerate(found)
        ]
        samples = [each.shape.samples[-1] if values and each.shape.samples else "" for each in found]
        shown = list(zip(found, plans, samples, strict=True))
        if as_json:
            told = [slow_json(each, plan=plan, sample=sample) for each, plan, sample in shown]
            self.stdout.write(json.dumps(told, indent=2))
        elif shown:
            blocks = ["\n".join(slow_lines(each, plan=plan, sample=sample)) for each, plan, sample in shown]
            self.stdout.write("\n\n".join(blocks))
        else:
            self.stdout.write(f"No query takes {threshold:g} ms on average.")
        self._tell_what_is_missing(database)

    @staticmethod
    def _plan(found: SlowQuery, database: str, *, analyze: bool) -> list[str]:
        try:
            lines = explain_sample(found.shape, using=database, analyze=analyze)
        except DatabaseError as error:  # its text may have a value in it
            return [f"The database has no plan for it: {type(error.__cause__ or error).__name__}."]
        return lines or ["There is no example of it that only reads, and so no plan."]

    def _tell_what_is_missing(self, database: str) -> None:
        if not settings.WORKLOAD_ENABLED:
            self.stderr.write(
                "Nothing is captured: set PERFKIT['WORKLOAD_ENABLED'] to True for lines, examples and plans."
            )
        if connections[database].vendor == "postgresql":
            problem = statement_statistics(connections[database], most=1).problem
            if problem:
                self.stderr.write(problem)
