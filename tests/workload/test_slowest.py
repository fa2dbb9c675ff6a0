from __future__ import annotations

import pytest
from django.db import DatabaseError, connection

from perfkit.workload import QueryShape, Workload, explain_sample, slow_queries
from tests.testapp.bulk import City, Country

SLOW = QueryShape('SELECT "x" FROM "testapp_city" WHERE "name" = %s', 2, 4.0)
OFTEN = QueryShape("SELECT a FROM nobodys", 100, 15.0)
QUICK = QueryShape("SELECT b FROM testapp_country", 1000, 1.0)
WORKLOAD = Workload("default", (OFTEN, SLOW, QUICK))


@pytest.mark.parametrize(
    ("by", "order"), [("mean", [SLOW, OFTEN]), ("total", [OFTEN, SLOW]), ("calls", [OFTEN, SLOW])]
)
def test_the_worst_comes_first(by: str, order: list[QueryShape]) -> None:
    assert [each.shape for each in slow_queries(WORKLOAD, by=by)] == order


def test_all_are_those_above_the_threshold() -> None:
    assert len(slow_queries(WORKLOAD, threshold_ms=0)) == 3
    assert [each.shape for each in slow_queries(WORKLOAD, threshold_ms=2_000)] == [SLOW]
    assert slow_queries(WORKLOAD, threshold_ms=2_001) == []
    assert len(slow_queries(WORKLOAD, threshold_ms=0, most=1)) == 1


def test_it_is_told_of_which_model_and_how_much_of_all_it_is() -> None:
    first, second = slow_queries(WORKLOAD)
    assert (first.model, second.model) == (City._meta.label, "")
    assert first.share == pytest.approx(0.2)


def test_a_workload_of_nothing_has_none() -> None:
    assert slow_queries(Workload("default", ())) == []


def sampled(*samples: str) -> QueryShape:
    return QueryShape("x", 1, 1.0, samples)


@pytest.fixture
def rows(transactional_db: None) -> None:
    Country.objects.create(code="PE")
    City.objects.create(name="Lima", country_id="PE")


def test_a_plan_is_that_of_the_newest_example_and_has_no_values(rows: None) -> None:
    lines = explain_sample(
        sampled("SELECT name FROM nobodys", "SELECT name FROM testapp_city WHERE name = 's3cr3t'")
    )
    text = "\n".join(lines)
    assert "testapp_city" in text
    assert "s3cr3t" not in text


@pytest.mark.postgres
def test_a_plan_is_that_of_a_run_where_asked_for(rows: None) -> None:
    shape = sampled("SELECT name FROM testapp_city WHERE name = 'Lima'")
    assert "run in" not in "\n".join(explain_sample(shape))
    assert "run in" in "\n".join(explain_sample(shape, analyze=True))


@pytest.mark.parametrize(
    "samples", [(), ("DELETE FROM testapp_city",), ("SELECT 1; DELETE FROM testapp_city",)]
)
def test_there_is_none_of_what_does_more_than_read(rows: None, samples: tuple[str, ...]) -> None:
    assert explain_sample(sampled(*samples), analyze=True) == []
    assert City.objects.count() == 1


@pytest.mark.postgres
def test_a_run_that_takes_too_long_is_ended(transactional_db: None) -> None:
    with pytest.raises(DatabaseError, match="timeout"):
        explain_sample(sampled("SELECT pg_sleep(60)"), analyze=True, timeout_ms=50)
    connection.ensure_connection()
