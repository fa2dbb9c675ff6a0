"""`manage.py perfkit_stats`: how fast the project is, in all of its processes."""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from perfkit.caching.store import StoreError
from perfkit.errors import PerfkitError
from perfkit.management.screens import Screen
from perfkit.management.stats_text import SECTIONS, summary_lines
from perfkit.monitoring.clearing import WHAT, clear
from perfkit.monitoring.jobs import log_summary
from perfkit.monitoring.plain import as_dict
from perfkit.monitoring.summary import RANGES, Summary, read_summary

WATCH_SECONDS: Final = 2.0
LEAST_SECONDS: Final = 0.2
ROWS: Final = 10


class Command(BaseCommand):
    """Shows requests, queries, cached reads, tasks and what else is measured."""

    help = (
        "Show how fast requests, queries, cached reads and tasks are, what is worse than it should be, and what "
        "to do about it."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the time, the form and what is shown."""
        parser.add_argument(
            "--since", choices=tuple(RANGES), default="1h", help="How far back; 1h if left out."
        )
        parser.add_argument("--json", action="store_true", dest="as_json", help="As JSON, whole.")
        parser.add_argument(
            "--watch",
            nargs="?",
            type=_seconds,
            const=WATCH_SECONDS,
            metavar="SECONDS",
            help=f"Show it again and again, every {WATCH_SECONDS:g} seconds or so many, until Ctrl-C.",
        )
        parser.add_argument(
            "--top", type=_rows, default=ROWS, metavar="N", help=f"Rows of a table; {ROWS} if left out."
        )
        parser.add_argument(
            "--section",
            action="append",
            dest="sections",
            choices=tuple(SECTIONS),
            help="Only this one; may be repeated.",
        )
        parser.add_argument(
            "--clear",
            choices=WHAT,
            help="Forget what Prometheus is told, or all that was measured, of all processes.",
        )
        parser.add_argument("--yes", action="store_true", help="Ask nothing before.")
        parser.add_argument(
            "--log", action="store_true", help="Log one line on the logger perfkit.summary, as the job does."
        )

    def handle(
        self,
        *_args: Any,
        since: str,
        as_json: bool,
        watch: float | None,
        top: int,
        sections: list[str] | None,
        log: bool,
        yes: bool,
        **others: Any,
    ) -> None:
        """Show it.

        Raises:
            CommandError: The cache server does not answer, or nothing is measured.
        """
        try:
            if others["clear"] is not None:
                self._clear(others["clear"], asks=not yes)
            elif log:
                log_summary(since)
            elif watch is None:
                found = read_summary(since)
                self.stdout.write("\n".join(_lines(found, as_json=as_json, top=top, sections=sections)))
                if found.problem:
                    raise CommandError(found.problem)
            else:
                self._watch(since, watch, as_json=as_json, top=top, sections=sections)
        except (PerfkitError, StoreError) as error:
            raise CommandError(str(error)) from error

    def _clear(self, what: str, *, asks: bool) -> None:
        told = "All that was measured" if what == "all" else "What Prometheus is told"
        if asks and not self._is_sure(f"{told}, by all processes, will be forgotten. Go on? [y/N] "):
            raise CommandError("Nothing was forgotten.")
        clear(what)
        self.stdout.write(f"{told} is forgotten. What is measured from now on is counted as before.")

    def _is_sure(self, question: str) -> bool:
        try:
            return input(question).strip().lower() in {"y", "yes"}
        except EOFError as error:
            raise CommandError("Nobody answers: give --yes to forget it.") from error

    def _watch(self, since: str, every_seconds: float, **shown: Any) -> None:
        screen = Screen(self.stdout)
        try:
            while True:
                begun = time.monotonic()
                screen.show(_lines(read_summary(since), is_watched=True, **shown))
                time.sleep(max(0.0, every_seconds - (time.monotonic() - begun)))
        except KeyboardInterrupt:
            self.stdout.write("")
        except BrokenPipeError:
            # Python would write what is left once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())


def _lines(
    found: Summary, *, as_json: bool, top: int, sections: list[str] | None, is_watched: bool = False
) -> list[str]:
    if as_json:
        return [json.dumps(as_dict(found), indent=None if is_watched else 2)]
    return list(summary_lines(found, sections=sections or (), most=top))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not LEAST_SECONDS <= seconds <= 86_400:  # noqa: PLR2004  # a day
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from {LEAST_SECONDS} to 86,400")
    return seconds


def _rows(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 1_000:  # noqa: PLR2004  # more is read by nobody
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 1,000")
    return int(text)
