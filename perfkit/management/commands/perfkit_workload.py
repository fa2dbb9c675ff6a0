"""`manage.py perfkit_workload`: which statements a project sends; recorded, shown, exported, replayed, cleared."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import time
from pathlib import Path
from typing import Any, Final

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections

from perfkit.conf import options as settings
from perfkit.errors import PerfkitError
from perfkit.management.workload_text import replay_lines, summary_line, workload_json, workload_lines
from perfkit.postgres.statement_statistics import statement_statistics
from perfkit.workload import (
    Workload,
    clear_workload,
    flush_workload,
    load_workload,
    read_workload,
    replay_workload,
    save_workload,
)
from perfkit.workload.capture import recording
from perfkit.workload.reading import difference, read_capture
from perfkit.workload.store import has_tables

UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
WAIT_SECONDS: Final = 0.2


class Command(BaseCommand):
    """Records the statements of a project, and shows, exports and replays them."""

    help = (
        "Record which statements a project sends (record), show them, the costliest first (show), write them into "
        "a file (export), run those of a file once more (replay), remove them (clear)."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare what can be done."""
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        record = actions.add_parser(
            "record",
            help="What all processes of the site send for some time, or what one command of manage.py sends.",
        )
        _add_database(record)
        record.add_argument(
            "--seconds", type=_seconds, metavar="N", help="Listen for so long to all processes."
        )
        record.add_argument("--output", type=Path, metavar="FILE", help="Write what came into a file.")
        record.add_argument("--redact", action="store_true", help="Without examples, and so without values.")
        record.add_argument(
            "rest", nargs=argparse.REMAINDER, metavar="-- COMMAND …", help="Run this, and record it alone."
        )
        show = actions.add_parser("show", help="The shapes of statements, the costliest first.")
        _add_database(show)
        _add_since(show)
        show.add_argument(
            "--limit", type=_count, default=20, metavar="N", help="Show the first N; 20 if left out."
        )
        show.add_argument("--samples", action="store_true", help="Show the examples, with their values.")
        show.add_argument("--json", action="store_true", dest="as_json", help="As JSON.")
        export = actions.add_parser("export", help="Write the workload into a file that only you may read.")
        export.add_argument("file", type=Path)
        _add_database(export)
        _add_since(export)
        export.add_argument("--redact", action="store_true", help="Without examples, and so without values.")
        replay = actions.add_parser(
            "replay",
            help="Run the SELECTs of a file once more, and say how long they take; nothing is written.",
        )
        replay.add_argument("file", type=Path)
        _add_database(replay)
        replay.add_argument("--times", type=_count, default=3, metavar="N", help="Runs of each example; 3.")
        replay.add_argument(
            "--concurrent", type=_count, default=1, metavar="N", help="Connections at once; 1."
        )
        replay.add_argument(
            "--timeout",
            type=_seconds,
            default=10.0,
            metavar="SECONDS",
            help="Longest time of a statement; 10.",
        )
        replay.add_argument("--limit", type=_count, default=20, metavar="N", help="Show the first N; 20.")
        clear = actions.add_parser("clear", help="Remove what was captured.")
        _add_database(clear)

    def handle(self, *_args: Any, action: str, **options: Any) -> None:
        """Do it.

        Raises:
            CommandError: Nothing can be recorded, a file is none, or the database does not answer.
        """
        try:
            getattr(self, f"_{action}")(**options)
        except PerfkitError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(f"The database says: {str(error).partition(chr(10))[0]}") from error

    def _record(
        self,
        *,
        database: str,
        seconds: float | None,
        output: Path | None,
        redact: bool,
        rest: list[str],
        **_: Any,
    ) -> None:
        command = rest[1:] if rest[:1] == ["--"] else rest
        if (seconds is None) == (not command):
            raise CommandError(
                "Say for how long (--seconds N), or which command (-- COMMAND …), but not both."
            )
        if not has_tables(database):
            raise CommandError(
                f"The database {database!r} has no tables of perfkit's: run manage.py migrate."
            )
        flush_workload()
        before, begun = read_capture(database), time.monotonic()
        if command:
            with recording():
                call_command(command[0], *command[1:], stdout=self.stdout, stderr=self.stderr)
            if not flush_workload():
                raise CommandError(f"What {command[0]} has sent could not be written down.")
        else:
            self._listen(seconds or 0.0)
        found = difference(before, read_capture(database), seconds=time.monotonic() - begun)
        self.stdout.write(summary_line(found))
        if output is not None:
            save_workload(found, output, redact=redact)

    def _listen(self, seconds: float) -> None:
        if not settings.WORKLOAD_ENABLED:
            raise CommandError(
                "No process counts its statements: set PERFKIT['WORKLOAD_ENABLED'] to True and restart the site, "
                "or record one command: perfkit_workload record -- COMMAND …"
            )
        interval = settings.WORKLOAD_INTERVAL
        self.stderr.write(
            f"Listening for {seconds:g} seconds, and {interval:g} more until all processes have told."
        )
        ends = time.monotonic() + seconds + interval
        try:
            while (left := ends - time.monotonic()) > 0:
                time.sleep(min(left, WAIT_SECONDS))
        except KeyboardInterrupt:
            self.stderr.write("Stopped.")

    def _show(
        self, *, database: str, since: dt.timedelta | None, limit: int, samples: bool, as_json: bool, **_: Any
    ) -> None:
        workload = self._workload(database, since)
        if as_json:
            told = workload_json(workload, most=limit, shows_samples=samples)
            self.stdout.write(json.dumps(told, indent=2))
            return
        self.stdout.write("\n".join(workload_lines(workload, most=limit, shows_samples=samples)))
        if since is None and connections[database].vendor == "postgresql":
            problem = statement_statistics(connections[database], most=1).problem
            if problem:
                self.stderr.write(problem)

    def _export(
        self, *, file: Path, database: str, since: dt.timedelta | None, redact: bool, **_: Any
    ) -> None:
        workload = self._workload(database, since)
        save_workload(workload, file, redact=redact)
        self.stdout.write(summary_line(workload))

    def _replay(
        self, *, file: Path, database: str, times: int, concurrent: int, timeout: float, limit: int, **_: Any
    ) -> None:
        report = replay_workload(
            load_workload(file),
            using=database,
            times=times,
            concurrent=concurrent,
            timeout_ms=max(1, int(timeout * 1000)),
        )
        self.stdout.write("\n".join(replay_lines(report, most=limit)))

    def _clear(self, *, database: str, **_: Any) -> None:
        if not has_tables(database):
            raise CommandError(
                f"The database {database!r} has no tables of perfkit's: run manage.py migrate."
            )
        self.stdout.write(f"{clear_workload(database):,} shapes removed.")

    @staticmethod
    def _workload(database: str, since: dt.timedelta | None) -> Workload:
        flush_workload()
        return read_workload(database, since=since)


def _add_database(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--database", default=DEFAULT_DB_ALIAS, choices=tuple(connections), help="Its alias.")


def _add_since(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--since",
        type=_age,
        metavar="24h",
        help="Only what was captured in so long a time (m, h, d), in whole hours; without pg_stat_statements.",
    )


def _age(text: str) -> dt.timedelta:
    found = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time, such as 12h or 7d")
    return dt.timedelta(**{UNITS[found[2]]: int(found[1])})


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 86_400:  # noqa: PLR2004  # a day
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds within a day")
    return number


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 1_000_000:  # noqa: PLR2004  # more is read by nobody
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to a million")
    return int(text)
