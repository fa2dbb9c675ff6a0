"""Reads the indexes, tables and foreign keys of PostgreSQL from its catalogue and statistics."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.indexing.advisor.bounds import LOCKED, bounded, has_given_up, locked_tables, without_end
from perfkit.indexing.advisor.inventory_sql import (
    DENSITY_SQL,
    FIGURES_SQL,
    INDEXES_SQL,
    REFERENCES_SQL,
    SCANS_SQL,
    SINCE_SQL,
    TABLES_SQL,
)
from perfkit.indexing.advisor.sessions import OutOfTimeError
from perfkit.indexing.advisor.specs import BTREE, IndexSpec, Key
from perfkit.indexing.advisor.standing import (
    ColumnFigures,
    Inventory,
    Reference,
    StandingIndex,
    StandingTable,
)
from perfkit.postgres.invalid_indexes import InvalidIndex, invalid_indexes
from perfkit.postgres.session import sqlstate

Answer = TypeVar("Answer")

MOST_LOCK_WAITS: Final = 2
"""For others may lock a table while the one that was locked is looked for."""

DESCENDING: Final = 1
NULLS_FIRST: Final = 2
SEPARATOR: Final = "\x1f"


def postgres_inventory(
    connection: BaseDatabaseWrapper, *, left_seconds: Callable[[], float] = without_end
) -> Inventory:
    """Return what stands in the tables of the search path.

    No rights are needed but to look into the catalogue.
    Figures of columns that the role may not read are left out.
    Tables that others have locked for longer than the advisor waits are left out, and named as unread.

    Raises:
        OutOfTimeError: The deadline has come.
        OperationalError: A statement was ended for it, or for a lock that is not to be told.

    Queries: 6, at any number of tables, each in a transaction; 3 more for each time that a lock was not to be had.
    """

    def rows(sql: str, *params: Any) -> list[tuple[Any, ...]]:
        with bounded(connection, left_seconds):
            return _rows(connection, sql, params)

    figures = {
        (table, column): ColumnFigures(distinct, nulls, common, width)
        for table, column, distinct, nulls, common, width in rows(FIGURES_SQL)
    }
    locked: dict[int, str] = {}

    def unless_locked(ask: Callable[[], Answer]) -> Answer:
        for _ in range(MOST_LOCK_WAITS):
            try:
                return ask()
            except OperationalError as error:
                if sqlstate(error) != LOCKED:
                    raise
                locked.update(locked_tables(connection))
        return ask()

    def invalid_ones() -> list[InvalidIndex]:
        with bounded(connection, left_seconds):
            return invalid_indexes(connection, but_of=locked)

    indexes = unless_locked(lambda: rows(INDEXES_SQL, list(locked)))
    invalid = unless_locked(invalid_ones)
    tables = {
        name: StandingTable(name, None if rows is None else round(rows), reads, deletes)
        for name, rows, reads, deletes in rows(TABLES_SQL)
    }
    unread = frozenset(locked.values()) & tables.keys()
    references = tuple(
        Reference(table, tuple(columns), target)
        for table, columns, target in rows(REFERENCES_SQL)
        if table not in unread
    )
    began_at, now = statistics_began(connection, left_seconds=left_seconds)
    return Inventory(
        connection.alias,
        tuple(each for each in (_index(row, figures) for row in indexes) if each.table not in unread),
        tables,
        references,
        began_at,
        now,
        frozenset(each.name for each in invalid if each.busy_pid is None and not each.is_attached),
        unread,
    )


def statistics_began(
    connection: BaseDatabaseWrapper, *, left_seconds: Callable[[], float] = without_end
) -> tuple[dt.datetime, dt.datetime]:
    """Return since when the database counts, and what time it is there.

    Queries: 1, in a transaction.
    """
    with bounded(connection, left_seconds):
        ((began_at, now),) = _rows(connection, SINCE_SQL)
    return began_at, now


def index_scans(
    connection: BaseDatabaseWrapper, *, left_seconds: Callable[[], float] = without_end
) -> dict[str, int]:
    """Return how often each index was read, for a replica, which counts by itself.

    Queries: 1, in a transaction.
    """
    with bounded(connection, left_seconds):
        return dict(_rows(connection, SCANS_SQL))


def leaf_density(
    connection: BaseDatabaseWrapper,
    index: StandingIndex,
    *,
    left_seconds: Callable[[], float] = without_end,
) -> float | None:
    """Return which part of a B-tree's pages is filled.

    The index is read whole.
    It is None where `pgstattuple` is not there or may not be used, and where the index is locked or there is no
    time to read it.

    Queries: 2, in a transaction.
    """
    try:
        with bounded(connection, left_seconds):
            return _leaf_density(connection, index)
    except OutOfTimeError:
        return None
    except OperationalError as error:
        if not has_given_up(error):
            raise
        return None


def _leaf_density(connection: BaseDatabaseWrapper, index: StandingIndex) -> float | None:
    found = _rows(connection, DENSITY_SQL)
    if not found:
        return None
    function = found[0][0].partition("(")[0]
    path = ".".join(map(connection.ops.quote_name, (index.schema, index.name)))
    # The function's name is the catalogue's.
    ((density,),) = _rows(connection, f"SELECT avg_leaf_density FROM {function}(%s::regclass)", [path])
    return float(density) / 100


def _index(row: tuple[Any, ...], figures: Mapping[tuple[str, str], ColumnFigures]) -> StandingIndex:
    name, schema, table, method, is_unique, key_columns, is_valid, is_partitioned, definition = row[:9]
    texts, numbers, classes, collations, options, condition, others, held_by = row[9:17]
    scans, size_bytes, rows, fill_percent, oid = row[17:]
    keys = []
    for place in range(key_columns):
        text, is_expression = texts[place], not numbers[place]
        if collations[place] and not is_expression:
            text, is_expression = f'"{text}" COLLATE {collations[place]}', True
        descending, nulls_first = (bool(options[place] & bit) for bit in (DESCENDING, NULLS_FIRST))
        keys.append(
            Key(
                without_brackets(text) if is_expression else text,
                is_expression,
                classes[place],
                descending,
                nulls_first if method == BTREE and nulls_first != descending else None,
            )
        )
    spec = IndexSpec(
        table,
        tuple(keys),
        tuple(texts[key_columns:]),
        without_brackets(condition or ""),
        method,
        is_unique,
    )
    stored = [
        figures.get((table, text) if number else (name, _expression_name(texts, numbers, place)))
        for place, (text, number) in enumerate(zip(texts, numbers, strict=True))
    ]
    return StandingIndex(
        name,
        spec,
        definition,
        schema,
        others,
        held_by,
        is_valid,
        is_partitioned,
        scans,
        size_bytes,
        rows,
        fill_percent,
        stored[0],
        tuple(each for each in stored if each) if all(stored) else None,
        oid,
    )


def _expression_name(texts: list[str], numbers: list[int], place: int) -> str:
    """Return how an index calls the column that an expression is; some names are not told, and have no figures."""
    head = texts[place].partition("(")[0]
    name = head if head.isidentifier() else "expr"
    earlier = sum(
        not numbers[other] and texts[other].partition("(")[0] == head and bool(head.isidentifier())
        for other in range(place)
    )
    return f"{name}{earlier}" if earlier else name


def without_brackets(text: str) -> str:
    """Return an expression without the brackets that stand around all of it. Pure."""
    while text.startswith("(") and text.endswith(")"):
        depth, is_quoted = 0, ""
        for place, letter in enumerate(text):
            if is_quoted:
                is_quoted = "" if letter == is_quoted else is_quoted
            elif letter in "'\"":
                is_quoted = letter
            else:
                depth += {"(": 1, ")": -1}.get(letter, 0)
                if not depth and place < len(text) - 1:
                    return text
        text = text[1:-1]
    return text


def _rows(connection: BaseDatabaseWrapper, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
