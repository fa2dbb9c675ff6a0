"""The indexes of a database that are not valid, and who works on them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, slots=True)
class InvalidIndex:
    """One index that no query uses.

    Attributes:
        oid: Its number.
        path: Its quoted name, with the schema.
        table: Of the index, quoted and with the schema.
        db_table: The same, as a model would say it.
        is_live: False for one that is half dropped.
        is_partitioned: Whether it is an index of a partitioned table, which has no rows of its own.
        is_attached: Whether it is a partition's part of such one.
        has_constraint: Whether a constraint stands on it.
        busy_pid: The server's process that builds it, or does anything to its table that excludes a build.
    """

    oid: int
    name: str
    path: str
    table: str
    db_table: str
    is_live: bool
    is_partitioned: bool
    is_attached: bool
    has_constraint: bool
    size_bytes: int
    definition: str
    busy_pid: int | None


# Who builds an index, or drops one, holds such a lock on its table from the beginning to the end.
INVALID_INDEXES_SQL = """
SELECT i.oid, i.relname, format('%%I.%%I', n.nspname, i.relname), format('%%I.%%I', tn.nspname, t.relname),
       format('"%%s"."%%s"', replace(tn.nspname, '"', '""'), replace(t.relname, '"', '""')),
       x.indislive, i.relkind = 'I', i.relispartition,
       EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.oid AND k.contype IN ('p', 'u', 'x')),
       pg_relation_size(i.oid), pg_get_indexdef(i.oid),
       (SELECT min(l.pid)
        FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.locktype = 'relation' AND l.relation IN (i.oid, t.oid) AND l.granted
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                         'AccessExclusiveLock')
          AND a.pid <> pg_backend_pid() AND a.backend_type <> 'autovacuum worker')
FROM pg_index x
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_namespace n ON n.oid = i.relnamespace
JOIN pg_class t ON t.oid = x.indrelid
JOIN pg_namespace tn ON tn.oid = t.relnamespace
WHERE NOT (x.indisvalid AND x.indisready AND x.indislive)
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_temp%%'
  AND t.oid <> ALL(%s::bigint[]::oid[])
ORDER BY n.nspname, t.relname, i.relname
"""


def invalid_indexes(connection: BaseDatabaseWrapper, *, but_of: Collection[int] = ()) -> list[InvalidIndex]:
    """Return the indexes of this database that are not valid, in all schemas.

    Args:
        but_of: Numbers of tables that are left out, such as those that are locked.

    Queries: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute(INVALID_INDEXES_SQL, [list(but_of)])
        return [InvalidIndex(*row) for row in cursor.fetchall()]
