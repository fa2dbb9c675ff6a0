"""The indexes of a table, as far as it matters which conditions they serve."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, slots=True)
class IndexKey:
    """One key of an index.

    Args:
        text: A column's name, or an expression, as PostgreSQL writes them.
        operator_class: What it is compared by: `text_ops`, `varchar_pattern_ops`, `gin_trgm_ops`.
        is_bytewise: Whether it sorts texts as bytes, so that a B-tree finds those with a prefix.
    """

    text: str
    operator_class: str
    is_bytewise: bool


@dataclass(frozen=True, slots=True)
class TableIndex:
    """One index that holds every row of its table and can be used."""

    name: str
    method: str
    is_unique: bool
    keys: tuple[IndexKey, ...]


TABLE_INDEXES_SQL = """
SELECT i.relname, m.amname, x.indisunique,
       ARRAY(SELECT pg_get_indexdef(i.oid, k, true) FROM generate_series(1, x.indnkeyatts) AS k ORDER BY k),
       ARRAY(SELECT o.opcname::text FROM unnest(x.indclass) WITH ORDINALITY AS c (oid, place)
             JOIN pg_opclass o ON o.oid = c.oid ORDER BY c.place),
       ARRAY(SELECT coalesce(CASE WHEN l.collname = 'default' THEN d.datcollate ELSE l.collcollate END, 'C')
                    IN ('C', 'POSIX')
             FROM unnest(x.indcollation) WITH ORDINALITY AS c (oid, place)
             LEFT JOIN pg_collation l ON l.oid = c.oid
             ORDER BY c.place)
FROM pg_index x
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_am m ON m.oid = i.relam
CROSS JOIN (SELECT datcollate FROM pg_database WHERE datname = current_database()) d
WHERE x.indrelid = to_regclass(%s) AND x.indisvalid AND x.indisready AND x.indpred IS NULL
ORDER BY i.relname
"""


def table_indexes(connection: BaseDatabaseWrapper, table: str) -> list[TableIndex]:
    """Return the indexes of `table`, a model's `db_table`, that hold all of its rows; [] where there is none.

    Queries: 1, to the catalogue alone.

    Source:
        PostgreSQL manual, "pg_index"; and "Operator Classes and Operator Families" for prefixes.
    """
    with connection.cursor() as cursor:
        cursor.execute(TABLE_INDEXES_SQL, [connection.ops.quote_name(table)])
        rows = cursor.fetchall()
    return [
        TableIndex(name, method, is_unique, tuple(map(IndexKey, texts, classes, bytewise)))
        for name, method, is_unique, texts, classes, bytewise in rows
    ]
