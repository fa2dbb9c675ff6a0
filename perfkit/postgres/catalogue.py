"""Looks up tables and indexes in PostgreSQL's system catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, slots=True)
class TableState:
    """One table as the catalogue has it; `estimated_rows` is None before the first ANALYZE.

    `size_bytes` of a partitioned table is that of its partitions together.
    """

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
    nulls_are_equal: bool = False


@dataclass(frozen=True, slots=True)
class IndexState:
    """One index as the catalogue has it.

    `is_valid` is False for what a failed or unfinished concurrent build or drop left,
    and for an index of a partitioned table that not all partitions have.
    `builder_pid` is the server process that builds it at this moment.
    `is_partitioned` is True for an index of a partitioned table, which has no rows of its own.
    `has_constraint` is True where a constraint of its table stands on it,
    and `is_attached` where it is the part that a partition has of a partitioned table's index.
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
    is_partitioned: bool = False
    has_constraint: bool = False
    is_attached: bool = False


@dataclass(frozen=True, slots=True)
class RelationState:
    """A relation whose rows are written under other names too, or elsewhere.

    `kind` is one of `KINDS`.
    `others` are the names: what stands behind a view, the partitions or children of a table,
    and the tables that it is a part or a child of.
    `is_writable` is True for a view through which rows can be written.
    """

    kind: str
    others: frozenset[str]
    is_writable: bool


KINDS = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialised view",
    "f": "foreign table",
}

TABLE_SQL = """
SELECT c.oid, n.nspname, c.relname, c.relkind = 'p', nullif(c.reltuples, -1)::bigint,
       CASE WHEN c.relkind = 'p'
            THEN (SELECT coalesce(sum(pg_table_size(p.relid)), 0)::bigint FROM pg_partition_tree(c.oid) p)
            ELSE pg_table_size(c.oid) END
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
       pg_get_expr(x.indpred, x.indrelid), coalesce(i.reloptions, '{}'), x.indnullsnotdistinct,
       i.relkind = 'I',
       EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.oid AND k.contype IN ('p', 'u', 'x')),
       i.relispartition
FROM pg_class wanted
JOIN pg_class i ON i.relnamespace = wanted.relnamespace
JOIN pg_index x ON x.indexrelid = i.oid
JOIN pg_am m ON m.oid = i.relam
JOIN pg_class t ON t.oid = x.indrelid
JOIN pg_namespace n ON n.oid = i.relnamespace
LEFT JOIN pg_stat_progress_create_index p ON p.index_relid = i.oid AND p.datname = current_database()
WHERE wanted.oid = to_regclass(%s) AND i.relname = %s
"""


RELATIONS_SQL = """
WITH RECURSIVE wanted AS MATERIALIZED (
    SELECT name, to_regclass(name)::oid AS oid FROM unnest(%s::text[]) AS name
), odd AS MATERIALIZED (
    SELECT w.name, w.oid, c.relkind
    FROM wanted w JOIN pg_class c ON c.oid = w.oid
    WHERE c.relkind IN ('p', 'v', 'f')
       OR EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent))
), within AS (
    SELECT name, oid FROM odd
    UNION
    SELECT w.name, part.oid FROM within w CROSS JOIN LATERAL (
        SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = w.oid
        UNION ALL
        SELECT d.refobjid
        FROM pg_class v
        JOIN pg_rewrite r ON r.ev_class = v.oid
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
            AND d.refclassid = 'pg_class'::regclass
        WHERE v.oid = w.oid AND v.relkind = 'v'
    ) AS part (oid)
), around AS (
    SELECT name, oid FROM within
    UNION
    SELECT a.name, i.inhparent FROM around a JOIN pg_inherits i ON i.inhrelid = a.oid
)
SELECT o.name, o.relkind::text,
       ARRAY(
           SELECT DISTINCT c.relname::text
           FROM around a JOIN pg_class c ON c.oid = a.oid JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE a.name = o.name AND a.oid <> o.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
             AND n.nspname NOT IN ('pg_catalog', 'information_schema')
       ),
       o.relkind = 'v' AND pg_relation_is_updatable(o.oid, true) <> 0
FROM odd o
"""
# A materialised view changes with its REFRESH alone, which names it.


def odd_relations(connection: BaseDatabaseWrapper, tables: Iterable[str]) -> dict[str, RelationState]:
    """Return what the catalogue says of those of `tables` whose rows are written under other names, or elsewhere.

    `tables` are models' `db_table`s; they are found through the search path.
    What a function, a rule or a trigger writes is not seen.

    Queries: 1, at any number of tables.
    """
    names = {connection.ops.quote_name(table): table for table in tables}
    with connection.cursor() as cursor:
        cursor.execute(RELATIONS_SQL, [list(names)])
        rows = cursor.fetchall()
    return {
        names[name]: RelationState(KINDS[kind], frozenset(others), is_writable)
        for name, kind, others, is_writable in rows
    }


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
    method, is_unique, key_columns, columns, classes, collations, orders, condition, storage, equal = row[
        9:19
    ]
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
        equal,
    )
    is_partitioned, has_constraint, is_attached = row[19:]
    oid, schema, index, on_table, is_on_table, is_valid, definition, size_bytes, builder_pid = row[:9]
    return IndexState(
        oid,
        schema,
        index,
        on_table,
        is_on_table,
        is_valid,
        definition,
        size_bytes,
        builder_pid,
        shape,
        is_partitioned,
        has_constraint,
        is_attached,
    )


def has_column(connection: BaseDatabaseWrapper, table: str, column: str) -> bool:
    """Tell whether `table`, a model's `db_table`, is there and has the column.

    Queries: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s "
            "AND NOT attisdropped)",
            [connection.ops.quote_name(table), column],
        )
        row: tuple[bool] = cursor.fetchone()
    return row[0]
