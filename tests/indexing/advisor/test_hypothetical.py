"""What hypopg says, on a PostgreSQL 15 that has it."""

from __future__ import annotations

import pytest
from django.db import connection

from perfkit.indexing.advisor.advising import advise
from perfkit.indexing.advisor.findings import Confidence
from perfkit.indexing.advisor.hypothetical import hypothetical_ground
from perfkit.indexing.advisor.selection import Budget
from perfkit.indexing.advisor.sessions import session_of
from tests.indexing.advisor.shop import (
    BY_CUSTOMER,
    BY_EMAIL,
    FAILED,
    LATEST,
    LINES,
    NEEDS_NONE,
    shop_in,
    workload,
)
from tests.indexing.advisor.test_advising import told

pytestmark = [pytest.mark.postgres, pytest.mark.hypopg]

RECORDED = workload(BY_CUSTOMER, LATEST, FAILED, BY_EMAIL, LINES, *NEEDS_NONE)
WANTED = {
    ("shop_order", "customer_id"),
    ("shop_order", "status"),
    ("shop_customer", "email"),
    ("shop_line", "order_id"),
}


def test_without_copies_it_is_asked(hypopg: None) -> None:
    with shop_in(connection):
        advice = advise(RECORDED, has_scratch=False)
    assert "hypopg" in advice.verified_by
    assert {each[:2] for each in told(advice)} == WANTED
    assert {each.confidence for each in advice.findings} == {Confidence.HYPOTHETICAL}
    assert all(each.size_bytes for each in advice.findings)
    assert advice.copied_rows == {}


def test_an_update_is_asked_as_the_read_of_its_rows(hypopg: None) -> None:
    with shop_in(connection):
        advice = advise(workload("UPDATE shop_order SET note = 'x' WHERE customer_id = 5"), has_scratch=False)
    assert {each[:2] for each in told(advice)} == {("shop_order", "customer_id")}


def test_of_a_table_copied_in_part_it_tells_the_real_costs(hypopg: None) -> None:
    with shop_in(connection):
        advice = advise(workload(BY_CUSTOMER, LINES), budget=Budget(copy_rows=4_000))
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {BY_CUSTOMER}")
            ((said,),) = cursor.fetchall()
    costs = {effect.cost_before for each in advice.findings for effect in each.effects}
    assert said[0]["Plan"]["Total Cost"] in costs
    assert {each.confidence for each in advice.findings} == {Confidence.HYPOTHETICAL}


def test_its_plans_have_the_new_index_in_words_and_are_the_same_twice(hypopg: None) -> None:
    recorded, budget = workload(BY_CUSTOMER, LINES), Budget(copy_rows=4_000)
    with shop_in(connection):
        first, second = advise(recorded, budget=budget), advise(recorded, budget=budget)
    assert first == second
    plans = [effect.plan_after for each in first.findings for effect in each.effects]
    assert plans
    assert all("the new index on shop_" in plan for plan in plans)
    assert not any("btree" in plan for plan in plans)


def test_of_a_table_copied_wholly_the_copy_is_believed(hypopg: None) -> None:
    with shop_in(connection):
        advice = advise(workload(BY_EMAIL))
    assert [each.confidence for each in advice.findings] == [Confidence.BUILT]


def test_it_says_the_same_twice(hypopg: None) -> None:
    with shop_in(connection):
        assert advise(RECORDED, has_scratch=False) == advise(RECORDED, has_scratch=False)


def test_an_expression_is_tried_on_the_copy_which_has_statistics_of_it(hypopg: None) -> None:
    """For hypopg a third of the rows is above any bound, and reading all of them is as good."""
    with shop_in(connection):
        advice = advise(
            workload("SELECT * FROM shop_order WHERE total * 2 > 1998"), budget=Budget(copy_rows=8_000)
        )
    (finding,) = advice.findings
    assert finding.spec is not None
    assert finding.spec.keys[0].is_expression
    assert finding.confidence is Confidence.SAMPLED


@pytest.mark.usefixtures("transactional_db")
def test_it_is_never_created_by_us() -> None:
    with session_of("default", lambda: 60) as session:
        assert hypothetical_ground(session) is None
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_extension WHERE extname = 'hypopg'")
        assert cursor.fetchone() == (0,)
