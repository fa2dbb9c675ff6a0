"""What SQLite says of a table: its columns, its indexes, and how many rows sqlite_stat1 has counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

SQLITE_TYPES: Final = {
    "varchar": "character varying",
    "char": "character varying",
    "bool": "boolean",
    "datetime": "timestamp without time zone",
    "decimal": "numeric",
    "real": "double precision",
    "integer unsigned": "integer",
    "bigint unsigned": "bigint",
    "smallint unsigned": "smallint",
    "blob": "bytea",
}
"""Django's types of columns, as PostgreSQL writes them."""


@dataclass(frozen=True, slots=True)
class SQLiteIndexes:
    """The primary key's columns, and of each index its name, CREATE INDEX and what else the catalogue says."""

    primary: tuple[str, ...]
    rows: tuple[tuple[str, str, bool, bool, bool, bool], ...]


def sqlite_columns(connection: BaseDatabaseWrapper, table: str) -> list[tuple[str, str, bool]]:
    """Return each column's name, declared type, and whether it takes NULL; [] where there is no such table."""
    return [
        (name, kind, not not_null)
        for _, name, kind, not_null, _, _ in _pragma(connection, "table_info", table)
    ]


def sqlite_indexes(connection: BaseDatabaseWrapper, table: str) -> tuple[SQLiteIndexes, dict[str, float]]:
    """Return a table's indexes, and of the columns that one begins with how many values they have."""
    keys = sorted(
        (place, name) for _, name, _, _, _, place in _pragma(connection, "table_info", table) if place
    )
    statistics = _statistics(connection, table)
    rows = []
    distinct: dict[str, float] = {}
    quote = connection.ops.quote_name
    for _, name, is_unique, origin, _ in _pragma(connection, "index_list", table):
        with connection.cursor() as cursor:
            cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'index' AND name = %s", [name])
            row = cursor.fetchone()
        columns = [column for _, _, column in _pragma(connection, "index_info", name)]
        definition = row[0] if row and row[0] else ""
        if not definition:  # it stands in the CREATE TABLE
            listed = ", ".join(quote(column) for column in columns)
            definition = f"CREATE UNIQUE INDEX {quote(name)} ON {quote(table)} ({listed})"
        rows.append((name, definition, True, bool(is_unique), False, origin != "c"))
        numbers = statistics.get(name)
        if numbers and len(numbers) > 1 and columns and columns[0] is not None:
            distinct[columns[0]] = numbers[0] / max(numbers[1], 1)
    return SQLiteIndexes(tuple(name for _, name in keys), tuple(rows)), distinct


def sqlite_rows(connection: BaseDatabaseWrapper, table: str) -> int:
    """Return how many rows sqlite_stat1 has counted, or else the highest row number, which is quick to find."""
    numbers = [each[0] for each in _statistics(connection, table).values()]
    if numbers:
        return max(numbers)
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = %s", [table])
        (definition,) = cursor.fetchone()
        if "WITHOUT ROWID" in definition.upper():
            return 0
        cursor.execute(f"SELECT max(rowid) FROM {connection.ops.quote_name(table)}")  # a quoted name
        row = cursor.fetchone()
    return row[0] or 0


def _statistics(connection: BaseDatabaseWrapper, table: str) -> dict[str, list[int]]:
    """Return what ANALYZE has found: for each index the rows, and then how many have equal first columns."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'")
        if cursor.fetchone() is None:
            return {}
        cursor.execute("SELECT idx, stat FROM sqlite_stat1 WHERE tbl = %s", [table])
        rows = cursor.fetchall()
    return {name or "": [int(each) for each in text.split() if each.isdigit()] for name, text in rows}


def _pragma(connection: BaseDatabaseWrapper, pragma: str, name: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {pragma}({connection.ops.quote_name(name)})")
        return list(cursor.fetchall())
