"""Prepared statements: on which connections they may be used, and how Django's connection sends one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import NotSupportedError

Row = Sequence[Any]

PREPARE_WHEN_ASKED: Final = 2**31 - 1
"""A `prepare_threshold` that no statement reaches: psycopg prepares what asks for it, and nothing else.

With None, which is what Django gives it, psycopg ignores `prepare=True` without a word.
"""


def may_prepare(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether `execute(…, prepare=True)` of a psycopg cursor is obeyed on this connection, and safe.

    It is where the database's OPTIONS have a `prepare_threshold`, and no pooler is declared that gives each
    transaction another session: there a statement that one session prepared is unknown to the next.

    Django's own cursors put the values into the text and never prepare;
    `psycopg.Cursor(connection.connection)` does.

    Queries:
        None; connects where it is not yet connected.

    Source:
        psycopg manual, "Prepared statements".
    """
    if connection.vendor != "postgresql" or is_behind_pooler(connection.settings_dict):
        return False
    connection.ensure_connection()
    # Of psycopg 2 there is none.
    return getattr(connection.connection, "prepare_threshold", None) is not None


def is_behind_pooler(settings: Mapping[str, Any]) -> bool:
    """Tell whether this entry of DATABASES declares a pooler in transaction mode, in the way of Django's manual.

    Source:
        Django manual, "Databases: transaction pooling and server-side cursors".
    """
    return bool(settings.get("DISABLE_SERVER_SIDE_CURSORS"))


def plain_rows(connection: BaseDatabaseWrapper, sql: str, params: Any) -> list[Row]:
    """Return the rows of a statement that is sent as Django does."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        rows: list[Row] = cursor.fetchall()
    return rows


def prepared_rows(
    connection: BaseDatabaseWrapper, sql: str, params: Any, *, is_binary: bool = False
) -> list[Row]:
    """Return the rows of a statement that is prepared, on a connection that `may_prepare`.

    Execute wrappers, transactions, time limits and Django's log see it as any other.

    Args:
        is_binary: Have the rows sent in binary.
    """
    driver = connection.connection
    try:
        with _cursor(connection, is_binary=is_binary) as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall()  # type: ignore[no-any-return]  # rows
    except NotSupportedError:
        # A column has another type than when the statement was prepared; inside a transaction it is too late.
        if connection.in_atomic_block or driver is None or driver.closed:
            raise
        driver._prepared.clear()  # noqa: SLF001  # psycopg has no public name for it
        return plain_rows(connection, sql, params)


_sent: Final[WeakKeyDictionary[Any, set[str]]] = WeakKeyDictionary()
"""What each of the driver's connections has sent once."""


def rows_when_repeated(connection: BaseDatabaseWrapper, sql: str, params: Any) -> list[Row]:
    """Return the rows of a statement that is prepared when the connection sends it for the second time.

    One that is sent once on a connection, as in a worker that connects for each task, is planned once either way,
    and to prepare it would take a trip more.
    """
    if connection.queries_logged or not may_prepare(connection):  # people want to see the values
        return plain_rows(connection, sql, params)
    sent = _sent.setdefault(connection.connection, set())
    if sql in sent:
        return prepared_rows(connection, sql, params)
    sent.add(sql)
    return plain_rows(connection, sql, params)


def _cursor(connection: Any, *, is_binary: bool) -> Any:
    """Return a cursor with all that Django puts around its own."""
    from perfkit.postgres.cursors import BinaryCursor, PreparingCursor  # psycopg is not for every project

    connection.close_if_health_check_failed()
    connection.ensure_connection()
    with connection.wrap_database_errors:
        kind = BinaryCursor if is_binary else PreparingCursor
        return connection._prepare_cursor(kind(connection.connection))  # noqa: SLF001  # no public name
