from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import DataError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.postgres.prepared import PREPARE_WHEN_ASKED, may_prepare, rows_when_repeated

pytestmark = pytest.mark.django_db(transaction=True)

Connect = Callable[..., BaseDatabaseWrapper]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """A function that makes another connection to the test's database, with other settings."""
    made = []

    def connect(*, options: dict[str, Any], **settings: Any) -> BaseDatabaseWrapper:
        other = connection.copy()
        other.settings_dict.update(settings)
        other.settings_dict["OPTIONS"].update(options)
        made.append(other)
        return other

    yield connect
    for each in made:
        each.close()


def prepared(other: BaseDatabaseWrapper) -> list[str]:
    """Return what the session has prepared after a statement that asks for it was sent."""
    other.ensure_connection()
    cursor = psycopg.Cursor(other.connection)
    cursor.execute("SELECT 1 + %s", [2], prepare=True)
    cursor.execute("SELECT statement FROM pg_prepared_statements")
    return [statement for (statement,) in cursor.fetchall()]


@pytest.mark.postgres
@pytest.mark.parametrize("threshold", [0, 5, PREPARE_WHEN_ASKED])
def test_it_allows_what_psycopg_obeys(connect: Connect, threshold: int) -> None:
    other = connect(options={"prepare_threshold": threshold})
    assert may_prepare(other)
    assert "SELECT 1 + $1" in prepared(other)


@pytest.mark.postgres
@pytest.mark.parametrize("is_said", [False, True])
def test_it_does_not_allow_what_psycopg_ignores(connect: Connect, is_said: bool) -> None:
    other = connect(options={"prepare_threshold": None})
    if not is_said:
        del other.settings_dict["OPTIONS"]["prepare_threshold"]
    assert not may_prepare(other)
    assert prepared(other) == []


@pytest.mark.postgres
def test_the_threshold_prepares_nothing_that_does_not_ask(connect: Connect) -> None:
    other = connect(options={"prepare_threshold": PREPARE_WHEN_ASKED})
    other.ensure_connection()
    plain = psycopg.Cursor(other.connection)
    for number in range(200):
        plain.execute("SELECT 2 * %s", [number])
        with other.cursor() as django:
            django.execute("SELECT 3 * %s", [number])
    assert prepared(other) == ["SELECT 1 + $1"]


@pytest.mark.postgres
def test_it_allows_nothing_behind_a_declared_pooler(connect: Connect) -> None:
    other = connect(options={"prepare_threshold": 5}, DISABLE_SERVER_SIDE_CURSORS=True)
    assert not may_prepare(other)
    assert other.connection is None, "it need not connect to say so"


@pytest.mark.postgres
@pytest.mark.pgbouncer
def test_it_allows_nothing_behind_pgbouncer(pgbouncer: int) -> None:
    assert not may_prepare(connection)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="of SQLite")
def test_it_allows_nothing_on_sqlite() -> None:
    assert not may_prepare(connection)


def known(other: BaseDatabaseWrapper) -> list[str]:
    with other.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return [statement for (statement,) in cursor.fetchall()]


@pytest.mark.postgres
class TestRowsWhenRepeated:
    def test_it_prepares_what_a_connection_sends_again(self, connect: Connect) -> None:
        other = connect(options={"prepare_threshold": PREPARE_WHEN_ASKED})
        for times, statements in ((1, []), (2, ["SELECT 4 * $1"]), (3, ["SELECT 4 * $1"])):
            assert rows_when_repeated(other, "SELECT 4 * %s", [times]) == [(4 * times,)]
            assert known(other) == statements
        other.close()
        assert rows_when_repeated(other, "SELECT 4 * %s", [1]) == [(4,)]
        assert known(other) == [], "the new connection has sent it once"

    def test_it_prepares_nothing_where_that_is_not_allowed(self, connect: Connect) -> None:
        other = connect(options={"prepare_threshold": None})
        for _ in range(3):
            assert rows_when_repeated(other, "SELECT 4 * %s", [2]) == [(8,)]
        assert known(other) == []

    def test_a_column_that_changes_its_type_is_read_anyway(self, connect: Connect) -> None:
        other = connect(options={"prepare_threshold": PREPARE_WHEN_ASKED})
        with other.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE changing AS SELECT 1::integer AS number")
        for _ in range(3):
            assert rows_when_repeated(other, "SELECT number FROM changing", []) == [(1,)]
        with other.cursor() as cursor:
            cursor.execute("ALTER TABLE changing ALTER number TYPE text")
        for _ in range(3):
            assert rows_when_repeated(other, "SELECT number FROM changing", []) == [("1",)]

    def test_an_error_is_djangos(self, connect: Connect) -> None:
        other = connect(options={"prepare_threshold": PREPARE_WHEN_ASKED})
        for _ in range(3):
            with pytest.raises(DataError, match="division by zero"):
                rows_when_repeated(other, "SELECT 1 / %s", [0])


@pytest.mark.skipif(connection.vendor != "sqlite", reason="of SQLite")
def test_sqlite_answers_what_is_repeated() -> None:
    for _ in range(3):
        assert rows_when_repeated(connection, "SELECT 4 * %s", [2]) == [(8,)]
