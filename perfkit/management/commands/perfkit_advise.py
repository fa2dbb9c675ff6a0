"""`manage.py perfkit_advise`: which indexes a database lacks, and which it could do without."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections

from perfkit.errors import PerfkitError
from perfkit.indexing.advisor.keeping import keep, remember_migrations
from perfkit.indexing.advisor.reports import Report, as_json
from perfkit.indexing.advisor.running import DEADLINE_SECONDS, MOST_INDEXES, run_advisor
from perfkit.indexing.advisor.writing import planned_migrations, write
from perfkit.management.advice_page import advice_page
from perfkit.management.advice_text import report_lines
from perfkit.workload import load_workload

SPAN: Final = re.compile(r"(\d+)([mhd])")
UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
MEGABYTE: Final = 1_000_000
WITH_PLANS: Final = 2


class Command(BaseCommand):
    """Says which indexes to add, to drop and to build anew, with what speaks for each."""

    help = (
        "Say which indexes the workload of a database lacks, proven on copies of its tables, and which are "
        "unused, double, bloated or invalid. Nothing is changed, but where --write-migrations or --save says so."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare what is looked at, and what is done with it."""
        parser.add_argument(
            "--database", default=DEFAULT_DB_ALIAS, choices=tuple(connections), help="Its alias."
        )
        parser.add_argument(
            "--since",
            type=_span,
            metavar="SPAN",
            help="Only statements of the last 90m, 12h, 7d; all that is known if left out.",
        )
        parser.add_argument(
            "--workload", metavar="FILE", help="A workload that `perfkit_workload export` has written."
        )
        parser.add_argument(
            "--budget",
            type=_number,
            default=MOST_INDEXES,
            metavar="N",
            help=f"Most indexes to add; {MOST_INDEXES} if left out.",
        )
        parser.add_argument(
            "--budget-mb",
            type=_number,
            metavar="MB",
            help="Most megabytes of indexes to add; any if left out.",
        )
        parser.add_argument(
            "--seconds",
            type=_number,
            default=DEADLINE_SECONDS,
            metavar="N",
            help=f"Longest time to find out; {DEADLINE_SECONDS:g} if left out.",
        )
        parser.add_argument(
            "--no-scratch",
            action="store_true",
            help="Make no copies of tables; hypopg or the catalogue tells.",
        )
        parser.add_argument(
            "--write-migrations", action="store_true", help="Write the migrations, each into its model's app."
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="With --write-migrations: print them, and write none."
        )
        parser.add_argument("--save", action="store_true", help="Keep what is found, for the admin.")
        parser.add_argument(
            "--check", action="store_true", help="Exit with 1 where there is something to do, for CI."
        )
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", dest="as_json", help="As JSON, whole.")
        form.add_argument("--html", metavar="FILE", help="Write a page of HTML as well.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Find out, print it, and do what was asked for.

        Raises:
            CommandError: The database or a file cannot be read, or `--check` finds something to do.
        """
        try:
            report = self._report(options)
            if options["write_migrations"]:
                self._write(report, is_dry=options["dry_run"], is_quiet=options["as_json"])
        except PerfkitError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(f"The database says: {str(error).strip().partition(chr(10))[0]}") from error
        if options["check"] and report.remedies:
            raise CommandError(f"Index findings: {len(report.remedies)}.", returncode=1)

    def _report(self, options: dict[str, Any]) -> Report:
        megabytes = options["budget_mb"]
        workload = load_workload(options["workload"]) if options["workload"] else None
        report, known = run_advisor(
            options["database"],
            workload=workload,
            since=options["since"],
            most_indexes=options["budget"],
            most_bytes=None if megabytes is None else megabytes * MEGABYTE,
            deadline_seconds=options["seconds"],
            has_scratch=not options["no_scratch"],
        )
        if options["as_json"]:
            self.stdout.write(json.dumps(as_json(report), indent=2))
        else:
            lines = report_lines(report, shows_plans=options["verbosity"] >= WITH_PLANS)
            self.stdout.write("\n".join(lines))
        if options["html"]:
            try:
                Path(options["html"]).write_text(advice_page(report), encoding="utf-8")
            except OSError as error:
                raise CommandError(f"{options['html']} cannot be written: {error.strerror}") from error
            self.stderr.write(f"{options['html']} is written.")
        if options["save"]:
            kept = keep(report, known)
            self.stderr.write(
                f"Kept for the admin: {kept.new} new, {kept.again} found again, {kept.applied} applied, "
                f"{kept.gone} without a reason by now."
            )
        return report

    def _write(self, report: Report, *, is_dry: bool, is_quiet: bool) -> None:
        out = self.stderr if is_quiet else self.stdout
        written = planned_migrations(report.remedies)
        for remedy, reason in written.left:
            out.write(f"No migration for {remedy.name}: {reason}.")
        for file in written.files:
            out.write(f"{file.text}" if is_dry else f"{file.path} is written, for {file.label}.")
        if not is_dry:
            write(written.files)
            if written.files:
                remember_migrations(written.files)
                out.write("Write the lines above into Meta.indexes; then `makemigrations --check` is clean.")


def _span(text: str) -> dt.timedelta:
    found = SPAN.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no span such as 90m, 12h or 7d")
    return dt.timedelta(**{UNITS[found[2]]: int(found[1])})


def _number(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)
