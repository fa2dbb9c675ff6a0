"""Fixtures of the indexing room's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite

from tests.indexing.tables import Table, table_of


@pytest.fixture
def table(transactional_db: None) -> Iterator[Table]:
    """A table of the test database, outside a transaction."""
    with table_of(connection) as table:
        yield table


@pytest.fixture
def sqlite_table(transactional_db: None) -> Iterator[Table]:
    """The same table in an SQLite of its own, whatever database the tests run on."""
    settings = {
        **connection.settings_dict,
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
        "OPTIONS": {},
    }
    sqlite = SQLite(settings, alias="elsewhere")
    connections["elsewhere"] = sqlite
    try:
        with table_of(sqlite) as table:
            yield table
    finally:
        del connections["elsewhere"]
        sqlite.connection.close()  # Django's own close() keeps a database that lives in memory


@pytest.fixture
def other(transactional_db: None) -> Iterator[BaseDatabaseWrapper]:
    """A second session on the same database."""
    second = connection.copy()
    second.ensure_connection()
    yield second
    second.close()


@pytest.fixture
def busy(other: BaseDatabaseWrapper) -> Any:
    """A transaction in the second session that stays open until `release()`, or until the block ends."""

    def release() -> None:
        with other.cursor() as cursor:
            cursor.execute("COMMIT")

    @contextmanager
    def transaction(sql: str, *, isolation: str = "READ COMMITTED") -> Iterator[Callable[[], None]]:
        with other.cursor() as cursor:
            cursor.execute(f"BEGIN ISOLATION LEVEL {isolation}")
            cursor.execute(sql)
        try:
            yield release
        finally:
            with other.cursor() as cursor:
                cursor.execute("ROLLBACK")

    return transaction
