"""Connections of the workload's own, beside those of the project.

They are no part of a project's transactions, query counts and pools, and nothing watches what runs on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

CONNECT_SECONDS: Final = 5


@contextmanager
def own_connection(alias: str) -> Iterator[Any]:
    """Open a connection to a database, and close it at the end of the block.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    own: Any = connections[alias].copy()
    options = own.settings_dict["OPTIONS"]
    if own.vendor == "postgresql":
        options.pop("pool", None)
        options.setdefault("connect_timeout", CONNECT_SECONDS)
    try:
        own.ensure_connection()
        own.execute_wrappers.clear()
        yield own
    finally:
        BaseDatabaseWrapper.close(own)  # a database in memory too, which Django's own `close` leaves open


@contextmanager
def reading_only(own: Any, *, timeout_ms: int) -> Iterator[Any]:
    """Begin a transaction in which nothing can be written, yield a cursor, and roll all back.

    What limits it ends with the transaction: behind a pooler the session is not ours.

    Args:
        own: A connection of `own_connection`.
        timeout_ms: Longest time of one statement, on PostgreSQL.
    """
    with own.cursor() as cursor:
        if own.vendor == "postgresql":
            cursor.execute("BEGIN READ ONLY")
        else:
            cursor.execute("PRAGMA query_only = ON")
            cursor.execute("BEGIN")
        try:
            if own.vendor == "postgresql":
                cursor.execute(
                    "SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)",
                    [str(timeout_ms), str(timeout_ms)],
                )
            yield cursor
        finally:
            roll_back(own, cursor)


def roll_back(own: Any, cursor: Any) -> None:
    """End a transaction, or close the connection where it is gone, and the transaction with it."""
    try:
        cursor.execute("ROLLBACK")
    except DatabaseError:
        own.close()
