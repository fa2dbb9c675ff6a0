from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, transaction

from perfkit.errors import UsageError
from perfkit.workload import QueryShape, Workload, replay_workload
from tests.testapp.bulk import City, Country
from tests.workload.conftest import Captured


def of(*samples: str) -> Workload:
    return Workload("default", tuple(QueryShape(sql, 10, 1.0, (sql,)) for sql in samples))


@pytest.fixture
def rows(transactional_db: None) -> None:
    Country.objects.create(code="PE")
    City.objects.create(name="Lima", country_id="PE", population=10)


def test_it_runs_what_was_captured(captured: Captured, rows: None) -> None:
    City.objects.filter(name="Lima").first()
    City.objects.filter(name="Cusco").first()
    City.objects.filter(name="Lima").update(population=11)
    report = replay_workload(Workload("default", tuple(captured.shapes())), times=4)
    (only,) = [each for each in report.replayed if "testapp_city" in each.shape.fingerprint]
    assert (only.runs, only.failures) == (8 if len(only.shape.samples) == 2 else 4, 0)
    assert 0 < only.mean_seconds < 60
    assert report.skipped >= 2  # the UPDATE and the INSERT
    assert report.recorded_seconds > 0
    assert report.replayed_seconds > 0
    assert City.objects.get().population == 11


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM testapp_city",
        "SELECT 1; DELETE FROM testapp_city",
        "WITH x AS (DELETE FROM testapp_city RETURNING *) SELECT * FROM x",
        "SELECT * FROM testapp_city FOR UPDATE",
        "SELECT 1; COMMIT; DELETE FROM testapp_city; SELECT 1",
    ],
)
def test_it_does_not_run_what_does_more_than_read(rows: None, sql: str) -> None:
    report = replay_workload(of(sql))
    assert (report.replayed, report.skipped) == ((), 1)
    assert City.objects.count() == 1


@pytest.mark.postgres
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT setval('testapp_city_id_seq', 1000)",
        "SELECT * FROM swept",
        "SELECT 1;DELETE FROM testapp_city",
    ],
    ids=["a sequence", "a view over a function", "two statements"],
)
def test_the_database_lets_it_write_nothing(rows: None, sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfkit.workload.replay.is_one_read", lambda _: True)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION sweep() RETURNS bigint LANGUAGE sql AS "
            "'WITH gone AS (DELETE FROM testapp_city RETURNING 1) SELECT count(*) FROM gone'"
        )
        cursor.execute("CREATE VIEW swept AS SELECT sweep()")
    try:
        (only,) = replay_workload(of(sql)).replayed
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP VIEW swept")
            cursor.execute("DROP FUNCTION sweep")
    assert (only.runs, only.failures) == (0, 3)
    assert only.problem in {"ReadOnlySqlTransaction", "SyntaxError"}
    assert City.objects.count() == 1


def test_sqlite_lets_it_write_nothing_either(rows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfkit.workload.replay.is_one_read", lambda _: True)
    (only,) = replay_workload(of("DELETE FROM testapp_city")).replayed
    assert (only.runs, only.failures) == (0, 3)
    assert City.objects.count() == 1


@pytest.mark.postgres
def test_a_statement_that_takes_too_long_is_ended(transactional_db: None) -> None:
    (only,) = replay_workload(of("SELECT pg_sleep(60)"), times=1, timeout_ms=50).replayed
    assert (only.runs, only.problem) == (0, "QueryCanceled")


def test_what_fails_keeps_nothing_else_from_running(rows: None) -> None:
    report = replay_workload(of("SELECT missing FROM testapp_city", "SELECT name FROM testapp_city"), times=2)
    assert sorted((each.runs, each.failures) for each in report.replayed) == [(0, 2), (2, 0)]


def test_values_with_percent_signs_are_run_as_they_are(rows: None) -> None:
    (only,) = replay_workload(of("SELECT name FROM testapp_city WHERE name LIKE '%s%%'"), times=1).replayed
    assert (only.runs, only.problem) == (1, "")


def test_connections_share_the_runs(rows: None) -> None:
    report = replay_workload(of(*(f"SELECT {number} FROM testapp_city" for number in range(5))), concurrent=3)
    assert [each.runs for each in report.replayed] == [3] * 5


def test_it_is_no_part_of_an_open_transaction(rows: None) -> None:
    with transaction.atomic():
        assert replay_workload(of("SELECT name FROM testapp_city"), times=1).replayed
        assert connection.in_atomic_block


def test_a_workload_without_examples_runs_nothing() -> None:
    shapes = (QueryShape("SELECT ?", 1, 1.0),)
    report = replay_workload(Workload("default", shapes))
    assert (report.replayed, report.skipped) == ((), 1)
    assert (report.recorded_seconds, report.replayed_seconds) == (0.0, 0.0)


@pytest.mark.parametrize("wrong", [{"times": 0}, {"concurrent": 0}, {"timeout_ms": 0}])
def test_numbers_that_run_nothing_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        replay_workload(of("SELECT 1"), **wrong)


@pytest.mark.postgres
def test_a_database_that_is_away_is_told(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Group.objects.count() == 0
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")
    with pytest.raises(DatabaseError):
        replay_workload(of("SELECT 1"))
