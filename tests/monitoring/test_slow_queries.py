from __future__ import annotations

import inspect
import logging
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, connections, transaction
from django.test import Client, override_settings

from perfkit.conf import configured
from perfkit.monitoring import slow_queries
from perfkit.monitoring.fingerprints import fingerprint_of
from perfkit.monitoring.slow_plans import has_plan, text_of
from perfkit.monitoring.slow_queries import LineLimit, Parameters, log_slow
from perfkit.monitoring.statements import install, measure, uninstall
from perfkit.monitoring.work import measured
from perfkit.postgres.plans import plan_of
from perfkit.signals import query_timed
from project.flights.api import list_airports, list_flights
from tests.flights.factories import make_flights


def threshold(seconds: float, **options: object) -> override_settings:
    return override_settings(PERFKIT={**configured(), "QUERY_SLOW_THRESHOLD": seconds, **options})


@pytest.fixture
def log(
    caplog: pytest.LogCaptureFixture, db: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.LogCaptureFixture]:
    install()
    connection.ensure_connection()
    monkeypatch.setattr(slow_queries, "limit", LineLimit())
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
    words = record.getMessage().split(" ", 8)
    assert words[:2] == ["SLOW", "QUERY"]
    assert float(words[2]) >= 0
    assert words[3:6] == ["ms", "default", f"tests/monitoring/test_slow_queries.py:{line}"]
    assert words[6] == fingerprint_of(words[8])
    assert words[7] == "-"
    assert words[8].startswith('SELECT "auth_group"."id"')
    assert '"auth_group"."name" = %s' in words[8]
    assert (record.line, record.fingerprint, record.alias) == (words[5], words[6], "default")


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


def test_a_wrong_threshold_fails_no_query_and_is_told_once(
    log: pytest.LogCaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    with connection.cursor() as cursor, threshold("soon"):  # type: ignore[arg-type]
        for number in range(3):
            cursor.execute(f"INSERT INTO auth_group (name) VALUES ('secret {number}')")
        query_timed.send(None, using="default", sql="SELECT 1", seconds=0.5, has_failed=False)
    assert Group.objects.count() == 3
    assert [
        each.getMessage().count("SELECT ?") for each in log.records if each.name == "perfkit.queries"
    ] == [1]
    told = [each for each in caplog.records if "QUERY_SLOW_THRESHOLD" in each.getMessage()]
    assert len(told) == 1


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
        answer = measure(lambda *_: "answer", Unwritable(error), None, False, {"connection": connection})
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
        assert re.search(
            rf" project/flights/api.py:{line} [0-9a-f]{{12}} - request=[0-9a-f]{{32}} SELECT ", message
        )


def test_it_watches_a_connection_once(db: None) -> None:
    install()
    install()
    connection.ensure_connection()
    assert connection.execute_wrappers.count(measure) == 1


def test_it_survives_being_put_on_inside_another_wrapper(db: None) -> None:
    def other(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        return execute(sql, params, many, context)

    connection.ensure_connection()
    uninstall()
    with connection.execute_wrapper(other):
        install()
    assert measure in connection.execute_wrappers
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


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class TestLimit:
    def test_it_admits_so_many_a_minute_and_says_what_it_left_out(self) -> None:
        clock = Clock()
        limit = LineLimit(clock=clock)
        assert [limit.admits(2) for _ in range(4)] == [(True, 0), (True, 0), (False, 0), (False, 0)]
        clock.seconds = 59.9
        assert limit.admits(2) == (False, 0)
        clock.seconds = 60.0
        assert limit.admits(2) == (True, 3)
        assert limit.admits(2) == (True, 0)

    def test_lines_beyond_it_are_left_out_of_the_log(self, log: pytest.LogCaptureFixture) -> None:
        with threshold(0, QUERY_SLOW_LOGS_PER_MINUTE=3):
            for _ in range(10):
                Group.objects.count()
        assert len(log.records) == 3
        slow_queries.limit._begun -= 60
        with threshold(0, QUERY_SLOW_LOGS_PER_MINUTE=3):
            Group.objects.count()
        assert log.records[3].getMessage() == "7 lines about slow queries were left out within a minute."
        assert len(log.records) == 5

    def test_none_is_none(self, log: pytest.LogCaptureFixture) -> None:
        with threshold(0, QUERY_SLOW_LOGS_PER_MINUTE=0):
            Group.objects.count()
            slow_queries.limit._begun -= 60
            Group.objects.count()
        assert log.records == []


class TestSample:
    @pytest.mark.parametrize(
        ("rate", "drawn", "lines"), [(1.0, 0.999, 1), (0.5, 0.4, 1), (0.5, 0.5, 0), (0.0, 0.0, 0)]
    )
    def test_the_share_is_logged(
        self, log: pytest.LogCaptureFixture, rate: float, drawn: float, lines: int
    ) -> None:
        with threshold(0, QUERY_SLOW_SAMPLE_RATE=rate):
            log_slow("SELECT 1", "default", 1.0, draw=lambda: drawn)
        assert len(log.records) == lines


class TestParameters:
    def test_they_are_logged_only_where_the_settings_say_so(self, log: pytest.LogCaptureFixture) -> None:
        with threshold(0):
            Group.objects.filter(name="secret").exists()
        with threshold(0, QUERY_SLOW_PARAMETERS=True):
            Group.objects.filter(name="secret").exists()
        first, second = log.records
        assert "secret" not in repr(vars(first))
        assert " with (" in second.getMessage()
        assert "'secret'" in second.getMessage()
        assert "'secret'" in second.parameters

    def test_they_are_shortened_and_do_nothing_to_a_terminal(self) -> None:
        text = str(Parameters(["x" * 1_000, "\x1b[31m", *range(100)]))
        assert len(text) < 300
        assert text.isprintable()
        assert text.endswith("… 82 more)")

    def test_of_many_the_first_are_shown(self) -> None:
        assert str(Parameters([(1, "a"), (2, "b"), (3, "c")], is_many=True)) == "(1, 'a') and 2 more"
        assert str(Parameters([(1,)], is_many=True)) == "(1)"
        assert str(Parameters(iter([(1,)]), is_many=True)) == ""
        assert str(Parameters({"code": "JFK"})) == "(code='JFK')"


class TestView:
    def test_it_is_in_the_line_and_left_to_others_where_it_is_unknown(
        self, log: pytest.LogCaptureFixture
    ) -> None:
        with threshold(0):
            Group.objects.count()
            with measured("shop.mail"):
                Group.objects.count()
        unknown, known = log.records
        assert " - SELECT" in unknown.getMessage()
        assert getattr(unknown, "view", "-") == "-"
        assert known.view == "shop.mail"
        assert " shop.mail SELECT" in known.getMessage()


class Writing(logging.Handler):
    """Writes each line into the database, as handlers of some projects do."""

    def emit(self, record: logging.LogRecord) -> None:
        Group.objects.create(name=str(Group.objects.count()))


def test_a_handler_that_writes_into_the_database_does_not_go_round(log: pytest.LogCaptureFixture) -> None:
    logger, handler = logging.getLogger("perfkit.queries"), Writing()
    logger.addHandler(handler)
    try:
        with threshold(0):
            Group.objects.count()
    finally:
        logger.removeHandler(handler)
    assert len(log.records) == 1
    assert Group.objects.count() == 1


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", True),
        ("  (SELECT 1) UNION SELECT 2;", True),
        ("WITH a AS (SELECT 1) SELECT * FROM a", True),
        ("SELECT ';'", True),
        ("SELECT 1; DELETE FROM auth_group", False),
        ("SELECT 1 /* a */ ; DELETE FROM auth_group", False),
        ("UPDATE auth_group SET name = %s", False),
        ("EXPLAIN SELECT 1", False),
        ('SELECT * FROM "perfkit_job"', False),
        ("SELECT 1" + " " * 20_000, False),
    ],
)
def test_it_knows_what_has_a_plan(sql: str, expected: bool) -> None:
    assert has_plan(sql) is expected


def test_a_plan_is_one_line_without_values() -> None:
    scan = {
        "Node Type": "Seq Scan",
        "Relation Name": "auth_group",
        "Alias": "auth_group",
        "Plan Rows": 3,
        "Total Cost": 12.6,
        "Filter": "((name)::text = 'secret'::text) AND (id > 4711)",
    }
    sort = {
        "Node Type": "Sort",
        "Plan Rows": 3,
        "Total Cost": 13.2,
        "Sort Key": ["name", "(id + 4711)"],
        "Plans": [scan],
    }
    assert text_of(plan_of({"Plan": sort})) == (
        "Sort [Sort Key: name, (id + ?)] rows=3 cost=13 (Seq Scan on auth_group "
        "[Filter: ((name)::text = ?::text) AND (id > ?)] rows=3 cost=13)"
    )


@pytest.mark.postgres
class TestPlan:
    def plans(self, log: pytest.LogCaptureFixture) -> list[str]:
        return [record.plan for record in log.records if hasattr(record, "plan")]

    def test_it_is_a_second_line_of_a_select(self, log: pytest.LogCaptureFixture) -> None:
        with threshold(0, QUERY_SLOW_PLAN=True), measured() as work:
            list(Group.objects.filter(name="secret", id__gt=4711))
        line, plan = log.records
        assert plan.getMessage() == f"PLAN {line.fingerprint} {plan.plan}"
        assert "auth_group" in plan.plan
        assert "secret" not in plan.plan
        assert "4711" not in plan.plan
        assert work.queries == 1, "the question for it is no query"

    def test_off_there_is_none(self, log: pytest.LogCaptureFixture) -> None:
        with threshold(0):
            list(Group.objects.all())
        assert len(log.records) == 1

    def test_writes_and_failures_have_none(self, log: pytest.LogCaptureFixture) -> None:
        with threshold(0, QUERY_SLOW_PLAN=True):
            Group.objects.create(name="a")
            Group.objects.filter(name="a").update(name="b")
            with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT nonsense FROM nowhere")
        assert self.plans(log) == []
        assert Group.objects.count() == 1

    def test_the_rows_and_the_transaction_of_the_caller_stay(self, log: pytest.LogCaptureFixture) -> None:
        Group.objects.bulk_create([Group(name=str(number)) for number in range(250)])
        with threshold(0, QUERY_SLOW_PLAN=True), transaction.atomic():
            names = [group.name for group in Group.objects.order_by("id").iterator(chunk_size=50)]
            Group.objects.create(name="after")
        assert names == [str(number) for number in range(250)]
        assert Group.objects.filter(name="after").exists()
        assert self.plans(log)
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("0",)
            cursor.execute("SHOW transaction_read_only")
            assert cursor.fetchone() == ("off",)

    def test_one_that_fails_breaks_nothing(self, log: pytest.LogCaptureFixture) -> None:
        def dropping(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
            answer = execute(sql, params, many, context)
            if "FROM kept" in sql:
                with connection.cursor() as other:
                    other.execute("DROP TABLE kept")
            return answer

        with (
            threshold(0, QUERY_SLOW_PLAN=True),
            transaction.atomic(),
            connection.execute_wrapper(dropping),
            connection.cursor() as cursor,
        ):
            Group.objects.create(name="before")
            cursor.execute("CREATE TEMPORARY TABLE kept (name text)")
            cursor.execute("SELECT count(*) FROM kept WHERE name = %s", ["secret"])
            assert cursor.fetchone() == (0,)
            Group.objects.create(name="after")
        assert Group.objects.count() == 2
        assert self.plans(log) == ["(none: UndefinedTable)"]
        assert "secret" not in log.text

    def test_a_statement_that_writes_is_not_run_by_it(self, log: pytest.LogCaptureFixture) -> None:
        with threshold(0, QUERY_SLOW_PLAN=True), connection.cursor() as cursor:
            cursor.execute(
                "WITH made AS (INSERT INTO auth_group (name) VALUES ('secret') RETURNING id) "
                "SELECT count(*) FROM made"
            )
            assert cursor.fetchone() == (1,)
        assert Group.objects.count() == 1
        assert "secret" not in log.text

    @pytest.mark.django_db(transaction=True)
    def test_a_lock_that_somebody_waits_for_does_not_hold_it_up(self, log: pytest.LogCaptureFixture) -> None:
        begun, goes_on = threading.Event(), threading.Event()

        def lock() -> None:
            try:
                with transaction.atomic(), connection.cursor() as cursor:
                    cursor.execute("LOCK TABLE auth_group IN ACCESS EXCLUSIVE MODE")
                    begun.set()
                    goes_on.wait(30)
            finally:
                connections.close_all()

        def slow(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
            answer = execute(sql, params, many, context)
            thread.start()
            assert begun.wait(30)
            return answer

        thread = threading.Thread(target=lock)
        try:
            with threshold(0, QUERY_SLOW_PLAN=True), connection.execute_wrapper(slow):
                assert Group.objects.count() == 0
        finally:
            goes_on.set()
            thread.join(30)
        assert self.plans(log) == ["(none: LockNotAvailable)"]
        assert Group.objects.count() == 0

    @pytest.mark.django_db(transaction=True)
    def test_outside_of_transactions_none_stays_open(self, log: pytest.LogCaptureFixture) -> None:
        with threshold(0, QUERY_SLOW_PLAN=True):
            Group.objects.count()
        assert connection.connection.info.transaction_status.name == "IDLE"
        assert len(self.plans(log)) == 1


@pytest.mark.skipif(connection.vendor != "sqlite", reason="of SQLite")
def test_on_sqlite_there_is_no_plan(log: pytest.LogCaptureFixture) -> None:
    with threshold(0, QUERY_SLOW_PLAN=True):
        Group.objects.count()
    assert len(log.records) == 1
