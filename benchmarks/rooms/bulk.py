"""Room bulk: flights into a table with four foreign keys and the demo's indexes."""

from __future__ import annotations

import logging
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pgbulk
from django.db import connection
from django.test import override_settings

from benchmarks.figures import Figure, Report, number
from benchmarks.rounds import Contender, play
from perfkit.bulk import bulk_insert
from project.flights import source
from project.flights.models import Airline, Airport, Flight, Plane

PEERS: Final = ("django-pgbulk",)
SAVED_ROWS: Final = 500
"""save() in a loop is so slow that fewer rows tell its rate."""
READ_BYTES: Final = 128 * 1024
GOAL: Final = 5.0
"""Times bulk_create."""


def measure(*, is_quick: bool) -> Report:
    r"""Insert the same flights in every way, into a table with few indexes and into the demo's own.

    The more indexes a table has, the more of the time is the server's, and the nearer all ways come to each other:
    the goal against bulk_create is set for the second table, that against the limit for both.
    Ratios are against a bulk_create that is fed instances made before the clock starts.
    PostgreSQL checks the foreign keys of all but bulk_insert by triggers, row by row, those of \copy too.
    """
    logging.getLogger("perfkit.queries").disabled = True
    count = 10_000 if is_quick else 50_000
    for model, rows in ((Airline, source.airlines()), (Airport, source.airports()), (Plane, source.planes())):
        bulk_insert(model, rows)
    flights = list(islice(source.flights(source.Dirt()), count))
    bulk_insert(Flight, flights)
    lines: list[tuple[str, ...]] = [("", "rows/s", "times bulk_create", "peak MiB")]
    figures: list[Figure] = []
    played = []
    with tempfile.TemporaryDirectory() as folder:
        text, binary = Path(folder, "flights.csv"), Path(folder, "flights.binary")
        _unload(text, "CSV")
        _unload(binary, "BINARY")
        for table, prepare, goal in (("all indexes", None, None), ("two indexes", _drop_indexes, GOAL)):
            if prepare:
                prepare()
            contenders = {each.name: each for each in _contenders(flights, text, binary)}
            budget_seconds = 14 if is_quick else 600
            played.append(
                play(list(contenders.values()), rounds=3 if is_quick else 5, budget_seconds=budget_seconds)
            )
            for contender in contenders.values():
                if not is_quick or contender.name.startswith("bulk_insert"):
                    contender.weigh()
            lines += _lines(table, contenders)
            figures += _figures(table, contenders, goal)
    setting = (
        f"{count:,} flights with four foreign keys, into the demo's table (12 indexes) and into one with "
        f"the primary and the natural key alone (2); medians of {' and '.join(map(str, played))} rounds."
    )
    return Report("bulk", setting, lines, figures)


def _drop_indexes() -> None:
    """Leave the indexes that back a constraint."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE flights_flight CASCADE")
        cursor.execute(
            "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "WHERE i.indrelid = 'flights_flight'::regclass AND NOT i.indisunique"
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f"DROP INDEX {connection.ops.quote_name(name)}")


def _contenders(rows: list[dict[str, Any]], text: Path, binary: Path) -> list[Contender]:
    columns = [field.name for field in Flight._meta.concrete_fields if not field.primary_key]
    made: list[Flight] = []

    def empty() -> None:
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE flights_flight CASCADE")
            cursor.execute("CHECKPOINT")

    def make(limit: int | None = None) -> None:
        empty()
        made[:] = [Flight(**row) for row in islice(rows, limit)]

    def save() -> int:
        for flight in made:
            flight.save(force_insert=True)
        return len(made)

    def bulk_create() -> int:
        return len(Flight.objects.bulk_create(made, batch_size=1000))

    def bulk_create_from_dicts() -> int:
        return len(Flight.objects.bulk_create([Flight(**row) for row in rows], batch_size=1000))

    def insert_checked_per_row() -> int:
        with override_settings(PERFKIT={"BULK_FOREIGN_KEYS_BY_SET": False}):
            return bulk_insert(Flight, rows).rows

    def pgbulk_copy() -> int:
        pgbulk.copy(Flight, made, columns, binary=True)
        return len(made)

    return [
        Contender("save() in a loop", save, lambda: make(SAVED_ROWS)),
        Contender("bulk_create", bulk_create, make),
        Contender("bulk_create, from dicts", bulk_create_from_dicts, empty),
        Contender("django-pgbulk copy", pgbulk_copy, make),
        Contender("bulk_insert, instances", lambda: bulk_insert(Flight, made).rows, make),
        Contender("bulk_insert, dicts", lambda: bulk_insert(Flight, rows).rows, empty),
        Contender("bulk_insert, dicts, keys checked per row", insert_checked_per_row, empty),
        Contender(r"\copy of a ready CSV", lambda: _reload(text, "CSV"), empty),
        Contender(r"\copy of a ready binary file", lambda: _reload(binary, "BINARY"), empty),
    ]


def _columns() -> str:
    return ", ".join(
        connection.ops.quote_name(str(field.column))
        for field in Flight._meta.concrete_fields
        if not field.primary_key
    )


def _unload(path: Path, file_format: str) -> None:
    statement = f"COPY flights_flight ({_columns()}) TO STDOUT (FORMAT {file_format})"
    with connection.cursor() as cursor, path.open("wb") as file, cursor.copy(statement) as copy:
        for block in copy:
            file.write(block)


def _reload(path: Path, file_format: str) -> int:
    r"""Do what psql's \\copy does: send the file as it is."""
    with connection.cursor() as cursor, path.open("rb") as file:
        with cursor.copy(f"COPY flights_flight ({_columns()}) FROM STDIN (FORMAT {file_format})") as copy:
            while block := file.read(READ_BYTES):
                copy.write(block)
        return int(cursor.rowcount)


def _lines(table: str, contenders: dict[str, Contender]) -> list[tuple[str, ...]]:
    slowest = contenders["bulk_create"].rate
    lines: list[tuple[str, ...]] = [(f"[{table}]", "", "", "")]
    for each in contenders.values():
        peak = f"{each.peak_bytes / 2**20:.1f}" if each.peak_bytes else ""
        lines.append((each.name, number(each.rate), f"{each.rate / slowest:.2f}", peak))
    return lines


def _figures(table: str, contenders: dict[str, Contender], goal: float | None) -> list[Figure]:
    """Take perfkit's slower way by default and the faster limit: no choice of ours may flatter a ratio."""
    own = min(contenders["bulk_insert, instances"].rate, contenders["bulk_insert, dicts"].rate)
    limit = max(contenders[r"\copy of a ready CSV"].rate, contenders[r"\copy of a ready binary file"].rate)
    created = contenders["bulk_create"].rate
    peak = max(each.peak_bytes for name, each in contenders.items() if name.startswith("bulk_insert"))
    return [
        Figure(f"bulk_insert, {table}", own, "rows/s", None, "higher"),
        Figure(f"bulk_insert / bulk_create, {table}", own / created, "times", goal, "higher"),
        Figure(
            f"keys by set / keys per row, {table}",
            contenders["bulk_insert, dicts"].rate
            / contenders["bulk_insert, dicts, keys checked per row"].rate,
            "times",
            None,
            "higher",
        ),
        Figure(f"\\copy / bulk_create, {table}", limit / created, "times", None, "higher"),
        Figure(f"bulk_insert / \\copy, {table}", own / limit, "times", 0.7, "higher"),
        Figure(
            f"bulk_insert / django-pgbulk, {table}",
            own / contenders["django-pgbulk copy"].rate,
            "times",
            1.0,
            "higher",
        ),
        Figure(f"bulk_insert peak memory, {table}", peak / 2**20, "MiB", 10.0, "lower"),
    ]
