"""Empties the databases after tests with transactions of their own: only the tables that hold something.

Django empties all of them, and makes content types and permissions anew, which takes longer than most tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import testcases

LASTING: Final = ("auth_permission", "django_content_type")
"""Tables that hardly any test changes, and that Django makes anew when it flushes."""

OUTBOX: Final = "perfkit_pendinginvalidation"

_as_made: Final[dict[str, list[Any]]] = {}
"""What Django has made of these when it flushed last, by alias."""


@pytest.fixture(scope="session", autouse=True)
def _quick_flush() -> Iterator[None]:
    """Have Django's test cases flush quickly."""
    patch = pytest.MonkeyPatch()
    patch.setattr(testcases, "call_command", _called)
    yield
    patch.undo()


def _called(name: str, *args: Any, **options: Any) -> Any:
    if name != "flush":
        return call_command(name, *args, **options)
    connection = connections[options["database"]]
    try:
        return _flushed(connection, name, *args, **options)
    finally:
        _empty_outbox(connection)


def _flushed(connection: BaseDatabaseWrapper, name: str, *args: Any, **options: Any) -> Any:
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    is_usual = set(LASTING) <= set(tables) and not options.get("inhibit_post_migrate")
    if is_usual and _lasting_rows(connection) == _as_made.get(connection.alias):
        _empty(connection, [table for table in tables if table not in LASTING])
        return None
    answer = call_command(name, *args, **options)
    _as_made.pop(connection.alias, None)
    if is_usual:
        _as_made[connection.alias] = _lasting_rows(connection)
    return answer


def _empty_outbox(connection: BaseDatabaseWrapper) -> None:
    """Remove what the flush itself has left there where its test has killed the cache server, past what watches.

    The next test would read from the database for a minute, for somebody writes its tables in silence.
    """
    if OUTBOX in connection.introspection.table_names():
        connection.connection.execute(f"DELETE FROM {OUTBOX}")


def _lasting_rows(connection: BaseDatabaseWrapper) -> list[Any]:
    found = []
    with connection.cursor() as cursor:
        for table in LASTING:
            cursor.execute(f"SELECT * FROM {table} ORDER BY id")
            found += cursor.fetchall()
    return found


def _empty(connection: BaseDatabaseWrapper, tables: list[str]) -> None:
    """Empty those of the tables that hold something."""
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        holds = [f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {quote(table)})" for table in tables]
        cursor.execute(" UNION ALL ".join(holds))
        full = [table for (table,) in cursor.fetchall()]
    if full:
        sql = connection.ops.sql_flush(no_style(), full, allow_cascade=True)
        connection.ops.execute_sql_flush(sql)
