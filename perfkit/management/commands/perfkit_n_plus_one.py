"""`manage.py perfkit_n_plus_one`: which loops of queries were recorded, the costliest first."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from perfkit.conf import options as settings
from perfkit.loading import Finding


class Command(BaseCommand):
    """Sums up what the guard recorded."""

    help = (
        "Show which loops of queries the N+1 guard recorded, the costliest first: how often, how many queries "
        "they took, where they are and what to write instead. The guard records what it finds in the file that "
        "PERFKIT['N_PLUS_ONE_RECORD'] names."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "files", nargs="*", type=Path, help="Recorded files; the one of the settings where none is named."
        )
        parser.add_argument(
            "--limit", type=int, default=20, metavar="N", help="Show the first N; 20 if left out."
        )
        parser.add_argument("--fail", action="store_true", help="Exit with 1 where anything was recorded.")

    def handle(self, *_args: Any, files: list[Path], limit: int, fail: bool, **_options: Any) -> None:
        """Print the report.

        Raises:
            CommandError: No file is named, one cannot be read or is not a record, or `--fail` finds anything.
        """
        if not files and not settings.N_PLUS_ONE_RECORD:
            raise CommandError(
                "Name a file, or set PERFKIT['N_PLUS_ONE_RECORD'] to the one that the guard writes."
            )
        loops = grouped(_read(files or [Path(settings.N_PLUS_ONE_RECORD)], self.stderr.write))
        for found in loops[:limit]:
            self.stdout.write(_text(found))
        times = sum(map(len, loops))
        self.stdout.write(
            f"{len(loops)} loops of queries, seen {times:,} times."
            if loops
            else "No loop of queries was recorded."
        )
        if fail and loops:
            raise CommandError("Loops of queries were recorded.")


def grouped(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Return what was found at each place for each relation, the place with the most queries first."""
    places: defaultdict[tuple[str, str, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        places[finding.kind, finding.name, finding.lines[0] if finding.lines else "-"].append(finding)
    return sorted(places.values(), key=lambda found: -sum(each.queries for each in found))


def _read(files: list[Path], warn: Callable[[str], object]) -> Iterable[Finding]:
    for file in files:
        try:
            with file.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    try:
                        yield Finding.from_json(line)
                    except ValueError as error:
                        if line.endswith("\n"):
                            raise CommandError(f"{file}, line {number}: {error}") from error
                        # Its process was stopped while it wrote.
                        warn(f"{file}, line {number} is cut off, and left out.")
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}") from error


def _text(found: list[Finding]) -> str:
    """Return a place as text: what it costs, where it is, what to write instead."""
    first = found[0]
    queries = [each.queries for each in found]
    milliseconds = sum(each.milliseconds for each in found)
    subject = f"{first.name}, {first.kind}" if first.name else first.kind.value
    runs = "1 run" if len(found) == 1 else f"{len(found):,} runs"
    cost = f"  {sum(queries):,} queries in {runs}, at most {max(queries):,} in one"
    cost = f"{cost}; {milliseconds:,.1f} ms"
    lines = [
        subject,
        cost,
        f"  at {' < '.join(first.lines) or '-'}",
        f"  Fix: {first.fix}",
        "",
    ]
    return "\n".join(lines)
