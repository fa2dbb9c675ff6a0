"""Bounds what the advisor asks the project's own connection for: no lock and no statement is waited for long."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.indexing.advisor.sessions import LONGEST_STATEMENT_SECONDS, OutOfTimeError
from perfkit.postgres.session import sqlstate

LOCK_SECONDS: Final = 2.0
"""As the advisor's own session waits."""

LOCKED: Final = "55P03"
CANCELLED: Final = "57014"

SET_SQL: Final = "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)"

# Who waits for such a lock keeps others waiting as well. A table is locked where an index or a partition of it is.
LOCKED_SQL: Final = """
WITH RECURSIVE locked AS (
    SELECT coalesce(x.indrelid, l.relation) AS oid
    FROM pg_locks l LEFT JOIN pg_index x ON x.indexrelid = l.relation
    WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.pid IS DISTINCT FROM pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    UNION
    SELECT h.inhparent FROM locked k JOIN pg_inherits h ON h.inhrelid = k.oid
)
SELECT c.oid::bigint, c.relname FROM locked k JOIN pg_class c ON c.oid = k.oid
"""


def without_end() -> float:
    """Return the time that is left where there is no deadline."""
    return math.inf


@contextmanager
def bounded(connection: BaseDatabaseWrapper, left_seconds: Callable[[], float]) -> Iterator[None]:
    """Run the block in a transaction whose statements wait for no lock for long, and end by the deadline.

    On SQLite, where nothing of this is to be waited for, it is run as it is.

    Raises:
        OutOfTimeError: The deadline has come.

    Queries: 3 beside the block's own on PostgreSQL, 5 within a transaction.
    """
    left = left_seconds()
    if left <= 0:
        raise OutOfTimeError
    if connection.vendor != "postgresql":
        yield
        return
    is_within = connection.in_atomic_block
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        former = None
        if is_within:
            cursor.execute("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
            former = cursor.fetchone()
        cursor.execute(SET_SQL, [_text(min(left, LOCK_SECONDS)), _text(min(left, LONGEST_STATEMENT_SECONDS))])
        yield
        if former:
            cursor.execute(SET_SQL, former)


def has_given_up(error: Error) -> bool:
    """Tell whether a statement was ended because it had waited, or run, for too long."""
    return sqlstate(error) in {LOCKED, CANCELLED}


def locked_tables(connection: BaseDatabaseWrapper) -> dict[int, str]:
    """Return the numbers and names of the tables that others have locked against each reader, or are about to.

    Queries: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute(LOCKED_SQL)
        return dict(cursor.fetchall())


def _text(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
