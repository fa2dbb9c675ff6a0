"""Asks for the rows of a statement, and runs it on the project's own connection.

# Note [Steps]
An answer takes one statement after the other, and what the next one is depends on the rows of the last.
So what makes an answer is a generator: it yields each statement, is sent its rows, and returns the answer.
It is the same for a thread and for the event loop; who drives it (`driving`) decides where statements run.

On PostgreSQL the statement is prepared, where the connection allows it: planning a list with its relations takes
longer than reading it. Execute wrappers, transactions, time limits and Django's log see it as any other.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import NotSupportedError

from perfkit.api.compiling.statements import Asked
from perfkit.postgres.prepared import may_prepare

if TYPE_CHECKING:
    import psycopg
else:
    try:
        import psycopg
    except ImportError:  # a project on SQLite
        psycopg = None

T = TypeVar("T")
Row = Sequence[Any]


Steps = Generator[Asked, list[Row], T]
"""What makes an answer; see Note [Steps]."""


def rows_of(asked: Asked) -> Steps[Iterable[Row]]:
    """Return the rows of a statement, each value as Django shows it.

    Queries: one.
    """
    rows = yield asked
    convert = asked.statement.converters
    return rows if convert is None else convert(rows, connections[asked.alias])


def fetched(asked: Asked) -> list[Row]:
    """Return the rows of a statement as the driver gives them, read by the connection of this thread.

    Queries: one.
    """
    connection = connections[asked.alias]
    if may_prepare(connection) and answers_the_same(asked, connection):
        return _prepared(asked, connection)
    return _plain(asked, connection)


def answers_the_same(asked: Asked, connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a statement may be prepared, and answers the same if it is; asks no database."""
    if not asked.statement.may_be_prepared:
        return False
    if connection.queries_logged:  # people want to see the values, and to ask for the plan of the text
        return False
    # Django gives a cursor a loader of its own for moments where the connection's is of another time zone.
    return connection.timezone_name == "UTC" or not asked.statement.has_moments


def _plain(asked: Asked, connection: BaseDatabaseWrapper) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(asked.sql, asked.values)
        rows: list[Row] = cursor.fetchall()
    return rows


def _prepared(asked: Asked, connection: BaseDatabaseWrapper) -> list[Row]:
    driver = connection.connection
    try:
        with _cursor(connection, is_binary=asked.statement.is_binary) as cursor:
            cursor.execute(asked.sql, asked.values)
            return cursor.fetchall()  # type: ignore[no-any-return]  # rows
    except NotSupportedError:
        # A column has another type than when the statement was prepared; inside a transaction it is too late.
        if connection.in_atomic_block or driver is None or driver.closed:
            raise
        driver._prepared.clear()  # noqa: SLF001  # psycopg has no public name for it
        return _plain(asked, connection)


def _cursor(connection: Any, *, is_binary: bool) -> Any:
    """Return a cursor with all that Django puts around its own."""
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    with connection.wrap_database_errors:
        kind = _BinaryCursor if is_binary else _PreparingCursor
        return connection._prepare_cursor(kind(connection.connection))  # noqa: SLF001  # no public name


if psycopg is not None:

    class _PreparingCursor(psycopg.Cursor[Any]):
        """Prepares what it executes."""

        is_binary = False

        def execute(self, query: Any, params: Any = None, **_: Any) -> Any:
            return super().execute(query, params, prepare=True, binary=self.is_binary)

    class _BinaryCursor(_PreparingCursor):
        """And has the rows sent in binary."""

        is_binary = True
