"""What is known of a table: its columns and their values, its rows, and the indexes that it has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.indexing.advisor.existing import ExistingIndex, existing_index
from perfkit.indexing.advisor.sqlite_columns import SQLITE_TYPES, sqlite_columns, sqlite_indexes, sqlite_rows
from perfkit.indexing.advisor.written import base_type

UNKNOWN_DISTINCT: Final = 200.0
"""Different values that PostgreSQL's planner assumes where it knows nothing."""


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """What is known of a column.

    Attributes:
        type: As PostgreSQL writes it, without what stands in brackets; of a domain, that behind it.
        distinct: Different values; None where nobody has looked.
        null_fraction: 0.0 to 1.0.
        common: The most frequent values, as text, each with its part of all rows.
        correlation: Of the order in the table with that of the values, -1.0 to 1.0.
        width_bytes: On average.
        is_bytewise: Whether it sorts texts as bytes, so that a B-tree finds those with a prefix.
        is_sortable: Whether a B-tree can have it.
    """

    name: str
    type: str
    is_nullable: bool = True
    distinct: float | None = None
    null_fraction: float = 0.0
    common: Mapping[str, float] = field(default_factory=dict, repr=False)
    correlation: float = 0.0
    width_bytes: int = 8
    is_bytewise: bool = False
    is_sortable: bool = True


@dataclass(frozen=True)
class TableFacts:
    """What is known of a table.

    Attributes:
        columns: By name, in the table's order.
        extensions: Of the database.
    """

    table: str
    rows: int
    columns: Mapping[str, ColumnFacts]
    indexes: tuple[ExistingIndex, ...] = ()
    extensions: frozenset[str] = frozenset()
    is_sqlite: bool = False

    @cached_property
    def types(self) -> dict[str, str]:
        """The columns' types, as `scans_of` wants them."""
        return {name: column.type for name, column in self.columns.items()}

    @cached_property
    def primary_key(self) -> tuple[str, ...]:
        """The names of its columns; empty where there is none."""
        return next((index.spec.columns for index in self.indexes if index.is_primary), ())


COLUMNS_SQL: Final = """
SELECT w.name, c.reltuples, pg_relation_size(c.oid), a.attname, format_type(b.oid, NULL), NOT a.attnotnull,
       s.n_distinct, s.null_frac, s.most_common_vals::text::text[], s.most_common_freqs, s.correlation,
       s.avg_width,
       coalesce(CASE WHEN l.collprovider = 'd' THEN d.datlocprovider = 'b'
                     OR (d.datlocprovider = 'c' AND d.datcollate IN ('C', 'POSIX'))
                     ELSE l.collprovider = 'b' OR (l.collprovider = 'c' AND l.collcollate IN ('C', 'POSIX')) END,
                false),
       EXISTS (
           SELECT FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod
           WHERE m.amname = 'btree' AND o.opcdefault AND (
               o.opcintype = b.oid
               OR o.opcintype IN (
                   SELECT k.casttarget FROM pg_cast k WHERE k.castsource = b.oid AND k.castmethod = 'b'
               )
               OR (b.typtype = 'e' AND o.opcintype = 'anyenum'::regtype)
               OR (b.typtype = 'r' AND o.opcintype = 'anyrange'::regtype)
               OR (b.typcategory = 'A' AND o.opcintype = 'anyarray'::regtype)
           )
       )
FROM (SELECT name, to_regclass(quoted)::oid AS oid
      FROM unnest(%s::text[], %s::text[]) AS t (name, quoted)) w
JOIN pg_class c ON c.oid = w.oid AND c.relkind IN ('r', 'p', 'm')
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
LEFT JOIN pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
    AND s.inherited = (c.relkind = 'p')
CROSS JOIN (SELECT datcollate, datlocprovider FROM pg_database WHERE datname = current_database()) d
ORDER BY w.name, a.attnum
"""

INDEXES_SQL: Final = """
SELECT w.name, i.relname, pg_get_indexdef(i.oid), x.indisvalid AND x.indisready, x.indisunique, x.indisprimary,
       EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.oid AND k.contype IN ('p', 'u', 'x'))
FROM unnest(%s::text[], %s::text[]) AS w (name, quoted)
JOIN pg_index x ON x.indrelid = to_regclass(w.quoted)
JOIN pg_class i ON i.oid = x.indexrelid
ORDER BY w.name, i.relname
"""


def table_facts(connection: BaseDatabaseWrapper, tables: Collection[str]) -> dict[str, TableFacts]:
    """Return what the catalogue and the statistics say of those of `tables` that are there.

    They are models' `db_table`s and are found through the search path.
    Statistics of columns that this role may not read are not known, which needs no superuser.

    Queries: 3 on PostgreSQL, to the catalogue alone, at any number of tables; on SQLite some for each table.
    """
    if connection.vendor == "sqlite":
        return _sqlite_facts(connection, tables)
    names = sorted(set(tables))
    quoted = [connection.ops.quote_name(name) for name in names]
    with connection.cursor() as cursor:
        cursor.execute(COLUMNS_SQL, [names, quoted])
        rows = cursor.fetchall()
        cursor.execute(INDEXES_SQL, [names, quoted])
        index_rows = cursor.fetchall()
        cursor.execute("SELECT extname FROM pg_extension")
        extensions = frozenset(name for (name,) in cursor.fetchall())
    columns: dict[str, dict[str, ColumnFacts]] = {}
    counts: dict[str, int] = {}
    for table, tuples, size_bytes, *row in rows:
        # Before the first ANALYZE the size alone says something.
        counts[table] = int(tuples) if tuples >= 0 else size_bytes // 100
        column = _column(row, counts[table])
        columns.setdefault(table, {})[column.name] = column
    indexes: dict[str, list[ExistingIndex]] = {}
    for table, *row in index_rows:
        if table in columns:
            types = {name: column.type for name, column in columns[table].items()}
            indexes.setdefault(table, []).append(existing_index(table, types, row))
    return {
        table: TableFacts(table, counts[table], found, tuple(indexes.get(table, ())), extensions)
        for table, found in columns.items()
    }


def _column(row: list[Any], rows: int) -> ColumnFacts:
    """Return a column of a row of `COLUMNS_SQL`."""
    (
        name,
        kind,
        is_nullable,
        distinct,
        null_fraction,
        values,
        frequencies,
        correlation,
        width,
        bytewise,
        sortable,
    ) = row
    if distinct is not None and distinct < 0:
        distinct = -distinct * rows
    return ColumnFacts(
        name,
        base_type(kind),
        is_nullable,
        distinct,
        null_fraction or 0.0,
        dict(zip(values or (), frequencies or (), strict=False)),
        correlation or 0.0,
        width or 8,
        bytewise,
        sortable,
    )


def _sqlite_facts(connection: BaseDatabaseWrapper, tables: Collection[str]) -> dict[str, TableFacts]:
    facts = {}
    for table in sorted(set(tables)):
        found = sqlite_columns(connection, table)
        if not found:
            continue
        indexes, distinct = sqlite_indexes(connection, table)
        rows = sqlite_rows(connection, table)
        columns = {
            name: ColumnFacts(
                name,
                SQLITE_TYPES.get(base_type(kind).lower(), base_type(kind).lower()),
                is_nullable,
                distinct.get(name),
                is_bytewise=True,
            )
            for name, kind, is_nullable in found
        }
        types = {name: column.type for name, column in columns.items()}
        primary = tuple(name for name, _, _ in found if name in indexes.primary)
        known = [existing_index(table, types, row) for row in indexes.rows]
        if primary:
            known.insert(0, ExistingIndex.of_key(table, primary))
        facts[table] = TableFacts(table, rows, columns, tuple(known), is_sqlite=True)
    return facts
