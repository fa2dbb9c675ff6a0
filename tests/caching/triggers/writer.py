"""Somebody who is not Django: writes rows in every way, and notes when each write was committed."""

from __future__ import annotations

import time
from typing import Any

import psycopg

ROWS = 40
"""Of each table, with the keys from 1 on."""
ITEMS, BOOKINGS = "testapp_item", "testapp_booking"


def zone(key: int) -> str:
    return f"zone {key}"


def copied(connection: psycopg.Connection, table: str, key: int, version: int) -> None:
    with connection.transaction():
        connection.execute(f"DELETE FROM {table} WHERE id = {key}")
        columns = "id, name, count" if table == ITEMS else "id, name, number, zone, is_paid"
        with connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
            copy.write_row((key, "x", version) if table == ITEMS else (key, "x", version, zone(key), True))


def by_function(connection: psycopg.Connection, table: str, key: int, version: int) -> None:
    connection.execute(f"DO $$ BEGIN UPDATE {table} SET {column(table)} = {version} WHERE id = {key}; END $$")


def updated(connection: psycopg.Connection, table: str, key: int, version: int) -> None:
    connection.execute(f"UPDATE {table} SET {column(table)} = %s WHERE id = %s", [version, key])


def after_others(connection: psycopg.Connection, table: str, key: int, version: int) -> None:
    """As a part of a transaction that has told all of the table before."""
    with connection.transaction():
        connection.execute(f"UPDATE {table} SET name = 'y' WHERE id > {ROWS}")
        updated(connection, table, key, version)


def prepared(connection: psycopg.Connection, table: str, key: int, version: int) -> None:
    name = f"{connection.info.dbname} {version}"
    connection.execute("BEGIN")
    updated(connection, table, key, version)
    connection.execute(f"PREPARE TRANSACTION '{name}'")
    connection.execute(f"COMMIT PREPARED '{name}'")


def taken_back(connection: psycopg.Connection, table: str, key: int, version: int) -> None:
    """After a savepoint that was rolled back."""
    with connection.transaction():
        with connection.transaction(force_rollback=True):
            connection.execute(f"UPDATE {table} SET {column(table)} = -1")
        updated(connection, table, key, version)


def column(table: str) -> str:
    return "count" if table == ITEMS else "number"


WAYS = (updated, copied, by_function, after_others, prepared, taken_back)


def write(dsn: str, committed: Any, *, pause_seconds: float) -> None:
    """Write version after version, each to one row, and note when it was committed.

    Args:
        committed: Shared with the readers; by version, seconds on the machine's monotonic clock.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        for version in range(1, len(committed)):
            table, key = row_of(version)
            WAYS[version % len(WAYS)](connection, table, key, version)
            committed[version] = time.monotonic()
            time.sleep(pause_seconds)


def row_of(version: int) -> tuple[str, int]:
    """Return the table and the key of the row that a version is written to."""
    place = version % (2 * ROWS)
    return (ITEMS, place + 1) if place < ROWS else (BOOKINGS, place - ROWS + 1)
