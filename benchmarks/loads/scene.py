"""The table that is written, in the states that are measured, and flights to write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from django.db import connection

from benchmarks.figures import Figure
from perfkit.bulk import bulk_insert
from project.flights import source
from project.flights.models import Airline, Airport, Flight, Plane

READ_BYTES: Final = 128 * 1024
KEY: Final = ("year", "month", "day", "airline", "number", "origin")
"""The fields of the flights' natural key."""
BATCH_ROWS: Final = 1000
"""Rows that every way sends at once, where it can be told."""

Row = dict[str, Any]


class Section(NamedTuple):
    """A part of the report."""

    lines: list[tuple[str, ...]]
    figures: list[Figure]


def load_what_flights_refer_to() -> None:
    """Fill the tables of airlines, airports and planes."""
    for model, rows in ((Airline, source.airlines()), (Airport, source.airports()), (Plane, source.planes())):
        bulk_insert(model, rows)


def flights(count: int) -> list[Row]:
    """Return the first flights of the year."""
    return list(islice(source.flights(source.Dirt()), count))


def many_flights(count: int) -> Iterator[Row]:
    """Yield any number of flights: those of the year again and again, each time of a later year."""
    year = 0
    while count > 0:
        for row in islice(source.flights(source.Dirt()), count):
            count -= 1
            yield row | {"year": 2013 + year}
        year += 1


def drop_indexes() -> None:
    """Leave the indexes that back a constraint: of the primary and of the natural key."""
    execute("TRUNCATE flights_flight CASCADE")
    for (name,) in execute(
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE i.indrelid = 'flights_flight'::regclass AND NOT i.indisunique"
    ):
        execute(f"DROP INDEX {connection.ops.quote_name(name)}")


def drop_foreign_keys() -> None:
    """Leave a table that refers to no other."""
    for (name,) in execute(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'flights_flight'::regclass AND contype = 'f'"
    ):
        execute(f"ALTER TABLE flights_flight DROP CONSTRAINT {connection.ops.quote_name(name)}")


def empty() -> None:
    """Take all flights away."""
    execute("TRUNCATE flights_flight CASCADE")
    execute("CHECKPOINT")


def unload(path: Path, file_format: str) -> None:
    """Write the flights of the table into a file, as COPY does, without their ids."""
    statement = f"COPY flights_flight ({_columns()}) TO STDOUT (FORMAT {file_format})"
    with connection.cursor() as cursor, path.open("wb") as file, cursor.copy(statement) as copy:
        for block in copy:
            file.write(block)


def reload(path: Path, file_format: str) -> int:
    r"""Do what psql's \\copy does: send the file as it is."""
    with connection.cursor() as cursor, path.open("rb") as file:
        with cursor.copy(f"COPY flights_flight ({_columns()}) FROM STDIN (FORMAT {file_format})") as copy:
            while block := file.read(READ_BYTES):
                copy.write(block)
        return int(cursor.rowcount)


def execute(statement: str) -> Sequence[tuple[Any, ...]]:
    """Run one statement, and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def _columns() -> str:
    return ", ".join(
        connection.ops.quote_name(str(field.column))
        for field in Flight._meta.concrete_fields
        if not field.primary_key
    )
