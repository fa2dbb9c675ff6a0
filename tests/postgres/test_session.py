from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import DatabaseError, connection

from perfkit.postgres.session import is_alive, session_settings, sqlstate

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def own_session(transactional_db: None) -> Iterator[None]:
    """A session that nobody goes on using with what a test set."""
    yield
    connection.close()


def show(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return cursor.fetchone()[0]


def test_it_sets_and_restores() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '7s'")
    with session_settings(connection, lock_timeout="250ms", statement_timeout="0"):
        assert show("lock_timeout") == "250ms"
    assert show("lock_timeout") == "7s"


def test_it_restores_after_an_error() -> None:
    with (
        pytest.raises(DatabaseError, match="division"),
        session_settings(connection, lock_timeout="250ms"),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT 1 / 0")
    assert show("lock_timeout") == "0"


def test_it_nests() -> None:
    with session_settings(connection, lock_timeout="250ms"):
        with session_settings(connection, lock_timeout="2s"):
            assert show("lock_timeout") == "2s"
        assert show("lock_timeout") == "250ms"


def test_it_changes_nothing_where_a_value_is_wrong() -> None:
    with (
        pytest.raises(DatabaseError, match="lock_timeout"),
        session_settings(connection, statement_timeout="9s", lock_timeout="soon"),
    ):
        pytest.fail("The block must not run.")
    assert show("statement_timeout") == "0"


def test_it_lets_the_error_of_a_dead_connection_through() -> None:
    with (
        pytest.raises(DatabaseError) as caught,
        session_settings(connection, lock_timeout="250ms"),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert sqlstate(caught.value) == "57P01"
    assert not is_alive(connection)


def test_it_costs_two_queries_before_and_one_after(django_assert_num_queries: object) -> None:
    with django_assert_num_queries(3), session_settings(connection, lock_timeout="1s", statement_timeout="0"):
        pass


def test_it_reads_the_code_of_an_error() -> None:
    with pytest.raises(DatabaseError) as caught, connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")
    assert sqlstate(caught.value) == "22012"
    assert sqlstate(DatabaseError("not from a driver")) is None
