from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, connections
from django.test import Client, override_settings

from perfkit.conf import configured
from perfkit.errors import SettingsError
from perfkit.monitoring import install
from perfkit.monitoring.slow_queries import log_if_slow, uninstall
from project.flights.api import list_airports, list_flights
from tests.flights.factories import make_flights


def threshold(seconds: float) -> override_settings:
    return override_settings(PERFKIT={**configured(), "QUERY_SLOW_THRESHOLD": seconds})


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, db: None) -> Iterator[pytest.LogCaptureFixture]:
    install()
    connection.ensure_connection()
    with caplog.at_level(logging.WARNING, "perfkit.queries"):
        yield caplog


def here() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_it_logs_time_alias_calling_line_and_sql(log: pytest.LogCaptureFixture) -> None:
    with threshold(0):
        list(Group.objects.filter(name="secret"))
        line = here() - 1
    (record,) = log.records
    assert (record.name, record.levelname) == ("perfkit.queries", "WARNING")
    words = record.getMessage().split(" ", 6)
    assert words[:2] == ["SLOW", "QUERY"]
    assert float(words[2]) >= 0
    assert words[3:6] == ["ms", "default", f"tests/monitoring/test_slow_queries.py:{line}"]
    assert words[6].startswith('SELECT "auth_group"."id"')
    assert '"auth_group"."name" = %s' in words[6]


def test_it_never_logs_a_value(log: pytest.LogCaptureFixture) -> None:
    with threshold(0), connection.cursor() as cursor:
        Group.objects.create(name="secret")
        Group.objects.filter(name="secret").update(name="secret2")
        cursor.execute("SELECT 'secret', 42 FROM auth_group WHERE name = %s", ["secret"])
        cursor.executemany("UPDATE auth_group SET name = %s WHERE id = %s", [("secret", 1), ("b", 2)])
    assert len(log.records) == 4
    for record in log.records:
        assert "secret" not in record.getMessage()
        assert "42" not in record.getMessage().partition("SELECT")[2]
    assert log.records[2].getMessage().endswith("SELECT ?, ? FROM auth_group WHERE name = %s")


@pytest.mark.postgres
def test_it_logs_only_what_takes_as_long_as_the_threshold(log: pytest.LogCaptureFixture) -> None:
    with threshold(0.05), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert not log.records
        cursor.execute("SELECT pg_sleep(0.06)")
    (record,) = log.records
    assert float(record.getMessage().split()[2]) >= 60
    assert record.getMessage().endswith("SELECT pg_sleep(?)")


@pytest.mark.postgres
def test_it_takes_statements_that_psycopg_composes(log: pytest.LogCaptureFixture) -> None:
    from psycopg import sql

    with threshold(0), connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("SELECT {} FROM {}").format(sql.Literal("secret"), sql.Identifier("auth_group"))
        )
    (record,) = log.records
    assert record.getMessage().endswith('SELECT ? FROM "auth_group"')


def test_it_logs_a_query_that_fails(log: pytest.LogCaptureFixture) -> None:
    with threshold(0), connection.cursor() as cursor, pytest.raises(DatabaseError):
        cursor.execute("SELECT nonsense FROM nowhere")
    assert "nonsense" in log.text


def test_a_wrong_threshold_is_told_before_the_query_runs(log: pytest.LogCaptureFixture) -> None:
    insert = "INSERT INTO auth_group (name) VALUES ('secret')"
    refused = pytest.raises(SettingsError, match="QUERY_SLOW_THRESHOLD")
    with connection.cursor() as cursor, threshold("soon"), refused:  # type: ignore[arg-type]
        cursor.execute(insert)
    assert not Group.objects.exists()


class Unwritable:
    """Stands for a composed statement that only the connection can write."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def as_string(self, context: object) -> str:
        raise self.error


@pytest.mark.parametrize("error", [connection.Database.ProgrammingError("cannot adapt"), TypeError("no")])  # type: ignore[attr-defined]
def test_a_statement_without_a_text_is_logged_and_answers(
    log: pytest.LogCaptureFixture, error: Exception
) -> None:
    with threshold(0):
        answer = log_if_slow(lambda *_: "answer", Unwritable(error), None, False, {"connection": connection})
    assert answer == "answer"
    (record,) = log.records
    assert record.getMessage().endswith(f" (Unwritable without a text: {type(error).__name__})")


def test_a_deleted_working_directory_changes_no_answer(
    log: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    with threshold(0):
        assert Group.objects.count() == 0
    assert f" {Path(__file__)}:" in log.text


@pytest.mark.parametrize(("url", "view"), [("flights", list_flights), ("airports", list_airports)])
def test_a_list_that_is_read_after_its_view_names_the_view(
    log: pytest.LogCaptureFixture, client: Client, url: str, view: Callable[..., Any]
) -> None:
    make_flights(1)
    log.clear()
    with threshold(0):
        assert client.get(f"/api/{url}").status_code == 200
    line = inspect.unwrap(view).__code__.co_firstlineno
    messages = [record.getMessage() for record in log.records]
    tables = [message for message in messages if f'FROM "flights_{url.removesuffix("s")}"' in message]
    assert len(tables) == 2
    for message in tables:
        assert f" project/flights/api.py:{line} SELECT " in message


def test_it_watches_a_connection_once(db: None) -> None:
    install()
    install()
    connection.ensure_connection()
    assert connection.execute_wrappers.count(log_if_slow) == 1


def test_it_survives_being_put_on_inside_another_wrapper(db: None) -> None:
    def other(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        return execute(sql, params, many, context)

    connection.ensure_connection()
    uninstall()
    with connection.execute_wrapper(other):
        install()
    assert log_if_slow in connection.execute_wrappers
    assert other not in connection.execute_wrappers


@pytest.mark.django_db(transaction=True)
def test_it_watches_the_connections_of_new_threads(caplog: pytest.LogCaptureFixture) -> None:
    install()

    def work() -> None:
        try:
            Group.objects.count()
        finally:
            connections.close_all()

    with threshold(0), caplog.at_level(logging.WARNING, "perfkit.queries"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(10)
    assert 'COUNT(*) AS "__count" FROM "auth_group"' in caplog.text


def test_it_can_be_taken_off(log: pytest.LogCaptureFixture) -> None:
    uninstall()
    try:
        with threshold(0):
            Group.objects.count()
        assert not log.records
    finally:
        install()
