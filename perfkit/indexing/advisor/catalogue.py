"""Reads the indexes, tables and foreign keys of PostgreSQL from its catalogue and statistics."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.indexing.advisor.inventory_sql import (
    DENSITY_SQL,
    FIGURES_SQL,
    INDEXES_SQL,
    REFERENCES_SQL,
    SCANS_SQL,
    SINCE_SQL,
    TABLES_SQL,
)
from perfkit.indexing.advisor.specs import BTREE, IndexSpec, Key
from perfkit.indexing.advisor.standing import (
    ColumnFigures,
    Inventory,
    Reference,
    StandingIndex,
    StandingTable,
)
from perfkit.postgres.invalid_indexes import invalid_indexes

DESCENDING: Final = 1
NULLS_FIRST: Final = 2
SEPARATOR: Final = "\x1f"


def postgres_inventory(connection: BaseDatabaseWrapper) -> Inventory:
    """Return what stands in the tables of the search path.

    No rights are needed but to look into the catalogue.
    Figures of columns that the role may not read are left out.

    Queries: 6, at any number of tables.
    """
    figures = {
        (table, column): ColumnFigures(distinct, nulls, common, width)
        for table, column, distinct, nulls, common, width in _rows(connection, FIGURES_SQL)
    }
    indexes = tuple(_index(row, figures) for row in _rows(connection, INDEXES_SQL))
    tables = {
        name: StandingTable(name, None if rows is None else round(rows), reads, deletes)
        for name, rows, reads, deletes in _rows(connection, TABLES_SQL)
    }
    references = tuple(
        Reference(table, tuple(columns), target)
        for table, columns, target in _rows(connection, REFERENCES_SQL)
    )
    began_at, now = statistics_began(connection)
    invalid = frozenset(
        index.name
        for index in invalid_indexes(connection)
        if index.busy_pid is None and not index.is_attached
    )
    return Inventory(connection.alias, indexes, tables, references, began_at, now, invalid)


def statistics_began(connection: BaseDatabaseWrapper) -> tuple[dt.datetime, dt.datetime]:
    """Return since when the database counts, and what time it is there.

    Queries: 1.
    """
    ((began_at, now),) = _rows(connection, SINCE_SQL)
    return began_at, now


def index_scans(connection: BaseDatabaseWrapper) -> dict[str, int]:
    """Return how often each index was read, for a replica, which counts by itself.

    Queries: 1.
    """
    return dict(_rows(connection, SCANS_SQL))


def leaf_density(connection: BaseDatabaseWrapper, index: StandingIndex) -> float | None:
    """Return which part of a B-tree's pages is filled, None where `pgstattuple` is not there or may not be used.

    The index is read whole.

    Queries: 2.
    """
    found = _rows(connection, DENSITY_SQL)
    if not found:
        return None
    function = found[0][0].partition("(")[0]
    path = ".".join(map(connection.ops.quote_name, (index.schema, index.name)))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT avg_leaf_density FROM {function}(%s::regclass)", [path])  # of the catalogue
        (density,) = cursor.fetchone()
    return float(density) / 100


def _index(row: tuple[Any, ...], figures: Mapping[tuple[str, str], ColumnFigures]) -> StandingIndex:
    name, schema, table, method, is_unique, key_columns, is_valid, is_partitioned, definition = row[:9]
    texts, numbers, classes, collations, options, condition, others, held_by = row[9:17]
    scans, size_bytes, rows, fill_percent = row[17:]
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


def _rows(connection: BaseDatabaseWrapper, sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, ())
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
