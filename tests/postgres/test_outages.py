from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, OperationalError, ProgrammingError, connection, transaction

from perfkit.postgres import is_outage
from project import services
from project.services.processes import free_port
from tests.plugins.postgres import DisposablePostgres

pytestmark = [pytest.mark.django_db(transaction=True)]


def ask(sql: str = "SELECT 1") -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def failure(call: Callable[..., Any], *args: Any) -> DatabaseError:
    with pytest.raises(DatabaseError) as caught:
        call(*args)
    return caught.value


@pytest.fixture
def elsewhere() -> Iterator[dict[str, Any]]:
    """The connection's settings, which a test may change."""
    before = {**connection.settings_dict, "OPTIONS": dict(connection.settings_dict["OPTIONS"])}
    connection.close()
    yield connection.settings_dict
    connection.close()
    connection.settings_dict.update(before)


@pytest.mark.postgres
class TestIsOutage:
    def test_a_server_that_was_killed(self, own_postgres: DisposablePostgres) -> None:
        ask()
        own_postgres.kill()
        assert is_outage(failure(ask))

    def test_a_pool_that_has_no_connection_in_time(self, own_postgres: DisposablePostgres) -> None:
        own_postgres.kill()
        error = failure(ask)
        assert type(error.__cause__).__name__ == "PoolTimeout"
        assert is_outage(error)

    def test_a_server_that_stops_in_order_in_a_transaction(self, own_postgres: DisposablePostgres) -> None:
        with pytest.raises(OperationalError) as caught, transaction.atomic():
            ask()
            own_postgres.stop()
            ask()
        assert is_outage(caught.value)

    def test_nobody_listens(self, elsewhere: dict[str, Any]) -> None:
        elsewhere["PORT"] = str(free_port())
        assert is_outage(failure(ask))

    def test_a_session_that_is_ended(self) -> None:
        pid = ask("SELECT pg_backend_pid()")
        name = str(connection.settings_dict["NAME"])
        with psycopg.connect(services.database_url(), dbname=name, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        assert is_outage(failure(ask))
        connection.close()

    def test_its_later_statements_in_the_same_transaction(self) -> None:
        name = str(connection.settings_dict["NAME"])
        with pytest.raises(OperationalError) as caught, transaction.atomic():
            pid = ask("SELECT pg_backend_pid()")
            with psycopg.connect(services.database_url(), dbname=name, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
            assert is_outage(failure(ask))
            ask()
        assert is_outage(caught.value)

    def test_no_place_for_one_more(self, own_postgres: DisposablePostgres) -> None:
        with connection.cursor() as cursor:
            cursor.execute("CREATE ROLE narrow LOGIN PASSWORD 'narrow' CONNECTION LIMIT 0")
        connection.close()
        connection.close_pool()
        connection.settings_dict.update(USER="narrow", PASSWORD="narrow", OPTIONS={})
        assert is_outage(failure(ask))

    @pytest.mark.parametrize(
        "sql",
        [
            "SELEC 1",
            "SELECT * FROM no_such_table",
            "SELECT 1 / 0",
            "SET LOCAL statement_timeout = 1; SELECT pg_sleep(10)",
        ],
        ids=["syntax", "table", "data", "time limit"],
    )
    def test_what_a_server_answers_is_none(self, sql: str) -> None:
        assert not is_outage(failure(ask, sql))

    def test_a_lock_that_was_not_got_is_none(self) -> None:
        name = str(connection.settings_dict["NAME"])
        with psycopg.connect(services.database_url(), dbname=name) as other:
            other.execute("SELECT pg_advisory_xact_lock(77)")
            error = failure(ask, "SET LOCAL lock_timeout = 1; SELECT pg_advisory_xact_lock(77)")
        assert isinstance(error, OperationalError)
        assert not is_outage(error)


def test_an_error_of_ones_own_is_none() -> None:
    assert not is_outage(OperationalError("made by hand"))
    assert not is_outage(ProgrammingError("made by hand"))
    assert not is_outage(ConnectionError("not of a database"))


@pytest.mark.skipif(connection.vendor != "sqlite", reason="of SQLite")
def test_sqlite_has_no_server() -> None:
    assert not is_outage(failure(ask, "SELECT * FROM no_such_table"))
