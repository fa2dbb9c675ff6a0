"""Looks up tables and indexes in PostgreSQL's system catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, slots=True)
class TableState:
    """One table as the catalogue has it; `estimated_rows` is None before the first ANALYZE."""

    oid: int
    schema: str
    name: str
    is_partitioned: bool
    estimated_rows: int | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class IndexShape:
    """What makes two indexes the same, whatever their names and tables: comparable with `==`.

    Texts are PostgreSQL's own rendering, so that two spellings of one expression are equal.
    Where an index is stored (its tablespace) is left out.
    """

    method: str
    is_unique: bool
    key_columns: int
    columns: tuple[str, ...]
    operator_classes: str
    collations: str
    orders: str
    condition: str | None
    storage: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IndexState:
    """One index as the catalogue has it.

    `is_valid` is False for what a failed or unfinished concurrent build or drop left.
    `builder_pid` is the server process that builds it at this moment.
    """

    oid: int
    schema: str
    name: str
    table: str
    is_on_table: bool
    is_valid: bool
    definition: str
    size_bytes: int
    builder_pid: int | None
    shape: IndexShape


TABLE_SQL = """
SELECT c.oid, n.nspname, c.relname, c.relkind = 'p', nullif(c.reltuples, -1)::bigint, pg_table_size(c.oid)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass(%s)
"""

INDEX_SQL = """
SELECT i.oid, n.nspname, i.relname, t.relname, t.oid = wanted.oid,
       x.indisvalid AND x.indisready AND x.indislive, pg_get_indexdef(i.oid), pg_relation_size(i.oid), p.pid,
       m.amname, x.indisunique, x.indnkeyatts,
       ARRAY(SELECT pg_get_indexdef(i.oid, k, false) FROM generate_series(1, x.indnatts) AS k ORDER BY k),
       x.indclass::text, x.indcollation::text, x.indoption::text,
       pg_get_expr(x.indpred, x.indrelid), coalesce(i.reloptions, '{}')
FROM pg_class wanted
JOIN pg_class i ON i.relnamespace = wanted.relnamespace
JOIN pg_index x ON x.indexrelid = i.oid
JOIN pg_am m ON m.oid = i.relam
JOIN pg_class t ON t.oid = x.indrelid
JOIN pg_namespace n ON n.oid = i.relnamespace
LEFT JOIN pg_stat_progress_create_index p ON p.index_relid = i.oid AND p.datname = current_database()
WHERE wanted.oid = to_regclass(%s) AND i.relname = %s
"""


def find_table(connection: BaseDatabaseWrapper, table: str) -> TableState | None:
    """Return what the catalogue says of `table`, or None where there is no such table.

    `table` is a model's `db_table`; it is found through the search path.

    Queries: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute(TABLE_SQL, [connection.ops.quote_name(table)])
        row = cursor.fetchone()
    return TableState(*row) if row else None


def find_index(connection: BaseDatabaseWrapper, table: str, name: str) -> IndexState | None:
    """Return the index `name` in the schema of `table`, or None where there is no such index or table.

    An index's name is unique in its schema, so the one found may be on another table: see `is_on_table`.

    Queries: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute(INDEX_SQL, [connection.ops.quote_name(table), name])
        row = cursor.fetchone()
    if row is None:
        return None
    method, is_unique, key_columns, columns, classes, collations, orders, condition, storage = row[9:]
    shape = IndexShape(
        method,
        is_unique,
        key_columns,
        tuple(columns),
        classes,
        collations,
        orders,
        condition,
        tuple(sorted(storage)),
    )
    oid, schema, index, on_table, is_on_table, is_valid, definition, size_bytes, builder_pid = row[:9]
    return IndexState(
        oid, schema, index, on_table, is_on_table, is_valid, definition, size_bytes, builder_pid, shape
    )
