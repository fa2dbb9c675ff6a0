"""What the advisor proposes for whole workloads, on real tables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection

from perfkit.indexing.advisor.advising import advise
from perfkit.indexing.advisor.built import BuiltGround
from perfkit.indexing.advisor.cases import NOT_RUN, Advice
from perfkit.indexing.advisor.findings import Confidence, Kind
from perfkit.indexing.advisor.samples import Sample
from perfkit.indexing.advisor.selection import Budget
from perfkit.indexing.advisor.specs import IndexSpec, Key
from perfkit.workload import QueryShape, Workload
from tests.indexing.advisor.shop import (
    BY_CUSTOMER,
    BY_EMAIL,
    FAILED,
    LATEST,
    LINES,
    NEEDS_NONE,
    shape,
    workload,
)

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("shop")]


def told(advice: Advice) -> set[tuple[str, ...]]:
    """Return the table and the columns of each index; for a partial one, that of its condition comes first."""
    found = set()
    for each in advice.findings:
        assert each.spec is not None
        condition = ("status",) if "status" in each.spec.condition else ()
        found.add((each.table, *condition, *each.spec.columns))
    return found


def index(table: str, *columns: str) -> IndexSpec:
    return IndexSpec(table, tuple(map(Key, columns)))


def test_it_finds_what_is_missing() -> None:
    advice = advise(workload(BY_CUSTOMER, LATEST, FAILED, BY_EMAIL, LINES, *NEEDS_NONE))
    assert {each[:2] for each in told(advice)} == {
        ("shop_order", "customer_id"),
        ("shop_order", "status"),
        ("shop_customer", "email"),
        ("shop_line", "order_id"),
    }
    assert advice.skipped == ()
    for each in advice.findings:
        assert each.kind is Kind.MISSING
        assert each.is_addition
        assert each.confidence is Confidence.BUILT
        assert each.gain > 0.02
        assert each.size_bytes
        assert each.size_bytes > 8192
        assert each.write_cost
        assert 0.2 < each.write_cost < 2
        assert max(effect.ratio for effect in each.effects) > 10


def test_its_evidence_has_plans_and_no_values() -> None:
    (finding,) = advise(workload(BY_EMAIL)).findings
    (effect,) = finding.effects
    assert "Seq Scan on shop_customer" in effect.plan_before
    assert "using the new index on shop_customer (email)" in effect.plan_after
    assert "4711" not in repr(finding) + effect.plan_before + effect.plan_after


@pytest.mark.parametrize("statement", NEEDS_NONE)
def test_it_proposes_nothing_where_nothing_is_needed(statement: str) -> None:
    assert advise(workload(statement)).findings == ()


def test_it_says_the_same_twice() -> None:
    recorded = workload(BY_CUSTOMER, LATEST, FAILED, BY_EMAIL, LINES, *NEEDS_NONE)
    first = advise(recorded, budget=Budget(copy_rows=10_000))
    assert first.findings
    assert advise(recorded, budget=Budget(copy_rows=10_000)) == first


def test_a_part_of_the_rows_tells_the_same() -> None:
    recorded = workload(BY_CUSTOMER, LATEST, BY_EMAIL, LINES)
    whole = advise(recorded)
    part = advise(recorded, budget=Budget(copy_rows=8_000))
    assert part.copied_rows["shop_line"] < 20_000
    assert {each[:2] for each in told(part)} == {each[:2] for each in told(whole)}
    assert {each.confidence for each in part.findings if each.table == "shop_line"} == {Confidence.SAMPLED}


def test_a_child_finds_its_parents_in_a_part() -> None:
    taken: dict[str, int] = {}

    def candidates(*_: object) -> dict[str, tuple[IndexSpec, ...]]:
        # The session of the advisor is the one with the schema; its rows are not locked.
        with connection.cursor() as cursor:
            cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'perfkit_scratch_%'")
            ((schema,),) = cursor.fetchall()
            cursor.execute(
                f"SELECT (SELECT count(*) FROM {schema}.shop_line), (SELECT count(*) FROM {schema}.shop_line l "
                f"JOIN {schema}.shop_order o ON o.id = l.order_id)"
            )
            taken["lines"], taken["joined"] = cursor.fetchone()
        return {}

    advise(workload(LINES), budget=Budget(copy_rows=4_000), candidates=candidates)
    assert taken["lines"] > 2_000
    assert taken["joined"] > 0.4 * taken["lines"]  # of rows drawn by themselves it were a tenth


def test_one_index_serves_two_statements() -> None:
    by_status_and_day = shape(
        "SELECT * FROM shop_order WHERE status = 'failed' AND made > '2024-01-20 00:00:00+00' ORDER BY made",
        "SELECT * FROM shop_order WHERE status = 'open' AND made > '2024-01-27 00:00:00+00' ORDER BY made",
    )
    by_status = shape(
        "SELECT * FROM shop_order WHERE status = 'failed'", "SELECT * FROM shop_order WHERE status = 'lost'"
    )
    (finding,) = advise(workload(by_status, by_status_and_day), budget=Budget(indexes=1)).findings
    assert finding.spec is not None
    assert finding.spec.columns == ("status", "made")
    assert {each.fingerprint for each in finding.effects} == {
        by_status.fingerprint,
        by_status_and_day.fingerprint,
    }


def test_what_is_there_is_not_proposed() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE INDEX ON shop_order (customer_id, made)")
    assert told(advise(workload(BY_CUSTOMER))) == set()


def test_a_budget_is_kept() -> None:
    recorded = workload(BY_CUSTOMER, LATEST, FAILED, BY_EMAIL, LINES)
    assert len(advise(recorded, budget=Budget(indexes=2)).findings) == 2
    small = advise(recorded, budget=Budget(size_bytes=300_000))
    assert sum(each.size_bytes or 0 for each in small.findings) <= 300_000


def test_writes_may_cost_more_than_is_gained() -> None:
    insert = shape("INSERT INTO shop_order (id, customer_id) VALUES (1, 2)", calls=100_000, seconds=1_000.0)
    rare = shape(BY_CUSTOMER, calls=1, seconds=0.001)
    assert advise(workload(insert, rare)).findings == ()
    assert told(advise(workload(replace(insert, total_seconds=0.0001), rare)))


def test_an_update_finds_its_rows_by_an_index_and_is_not_run() -> None:
    update = "UPDATE shop_order SET note = 'seen' WHERE customer_id = 77"
    delete = "DELETE FROM shop_line WHERE product = 4711"
    advice = advise(workload(update, delete))
    assert {each[:2] for each in told(advice)} == {("shop_order", "customer_id"), ("shop_line", "product")}
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM shop_order WHERE note = 'seen'")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT count(*) FROM shop_line")
        assert cursor.fetchone() == (80_000,)


def test_shapes_without_samples_get_values_from_the_copy() -> None:
    bare = [replace(shape(each), samples=()) for each in (BY_CUSTOMER, LATEST, BY_EMAIL, LINES)]
    numbered = replace(bare[0], fingerprint="SELECT id FROM shop_line WHERE product = $1 AND amount = $2")
    advice = advise(Workload("default", (*bare, numbered)))
    assert advice.skipped == ()
    assert {each[:2] for each in told(advice)} == {
        ("shop_order", "customer_id"),
        ("shop_order", "status"),
        ("shop_customer", "email"),
        ("shop_line", "order_id"),
        ("shop_line", "product"),
    }


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("SELECT 1; DROP TABLE shop_line", "not one statement"),
        ("DROP TABLE shop_line", "no SELECT"),
        ("DO $$ BEGIN DELETE FROM shop_line; END $$", "no SELECT"),
        ("WITH gone AS (DELETE FROM shop_line RETURNING id) SELECT * FROM gone", "a part of it writes"),
        ("SELECT * INTO shop_copy FROM shop_line", "a part of it writes"),
        ("SELECT * FROM shop_lost WHERE id = 1", "no table shop_lost"),
        ("SELECT * FROM shop_line WHERE nothing = 1", "SQLSTATE 42703"),
        ("SELECT * FROM elsewhere.shop_line WHERE product = 1", "a schema that is not"),
        ("SELECT shop_line.product FROM", "parser"),
    ],
)
def test_it_skips_what_it_cannot_ask_and_says_why(statement: str, reason: str) -> None:
    advice = advise(workload(statement, BY_EMAIL))
    (skipped,) = advice.skipped
    assert reason in skipped.reason
    assert len(advice.findings) == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM shop_line")
        assert cursor.fetchone() == (80_000,)


def test_what_has_side_effects_is_never_run() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE SEQUENCE shop_numbers")
        cursor.execute(
            "CREATE FUNCTION shop_spoil(bigint) RETURNS bigint LANGUAGE sql AS "
            "$$ SELECT nextval('shop_numbers') $$"
        )
    try:
        spoiling = [
            "SELECT nextval('shop_numbers') FROM shop_line WHERE product = 5",
            "SELECT shop_spoil(id) FROM shop_line WHERE product = 6",
            "SELECT pg_sleep(60) FROM shop_line WHERE product = 7",
            "SELECT id FROM shop_line WHERE product = shop_spoil(3)",
        ]
        advice = advise(workload(*spoiling))
        assert ("shop_line", "product") in {each[:2] for each in told(advice)}
        with connection.cursor() as cursor:
            cursor.execute("SELECT is_called FROM shop_numbers")
            assert cursor.fetchone() == (False,)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION shop_spoil")
            cursor.execute("DROP SEQUENCE shop_numbers")


def test_a_schema_that_is_named_leads_to_the_copy() -> None:
    statement = "SELECT id FROM public.shop_line WHERE product = 5"
    advice = advise(workload(statement))
    assert {each[:2] for each in told(advice)} == {("shop_line", "product")}


def test_it_ends_by_its_deadline_and_tells_what_it_left() -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 0.5
        return now[0]

    recorded = workload(
        *(f"SELECT id FROM shop_order WHERE kind_id = {n} AND note = 'x' LIMIT {n}" for n in range(3))
    )
    advice = advise(recorded, deadline_seconds=5, clock=clock)
    assert {each.reason for each in advice.skipped} == {"there was no time left for it"}


def test_it_ends_soon_after_its_deadline_however_much_was_recorded() -> None:
    statements = (
        f"SELECT t{n}.id FROM shop_order t{n} JOIN shop_line l{n} ON l{n}.order_id = t{n}.id "
        f"WHERE t{n}.customer_id = {n} AND l{n}.amount > 3 AND t{n}.total < 7 ORDER BY t{n}.made"
        for n in range(2_000)
    )
    shapes = [shape(each, seconds=2_000 / (n + 1)) for n, each in enumerate(statements)]
    drawn = [replace(each, samples=()) if n % 3 else each for n, each in enumerate(shapes)]
    began = time.monotonic()
    advice = advise(workload(*drawn), deadline_seconds=5)
    assert time.monotonic() - began < 60
    assert {each.reason for each in advice.skipped} == {"there was no time left for it"}
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'perfkit_scratch_%'")
        assert cursor.fetchone() == (0,)


def test_an_index_that_only_seems_good_is_rejected() -> None:
    """The planner hopes to meet a row soon in the order of `made`; all that match lie at its end."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE shop_order SET kind_id = 1 + id % 3, note = CASE WHEN id * 7919 % 40000 < 38000 THEN '' "
            "ELSE 'late' END, made = timestamptz '2024-01-01' + (id * 7919 % 40000) * interval '1 minute'"
        )
        cursor.execute("VACUUM FULL ANALYZE shop_order")
    statement = "SELECT * FROM shop_order WHERE note = 'late' AND kind_id = 1 ORDER BY made LIMIT 1"
    only = IndexSpec("shop_order", (Key("made"),))
    recorded = workload(statement)
    advice = advise(recorded, candidates=lambda shapes, _: {each.fingerprint: (only,) for each in shapes})
    assert advice.findings == ()
    (rejected,) = advice.rejected
    assert rejected.spec == only
    assert "more work" in rejected.reason


def test_what_is_grouped_by_a_primary_key_can_be_asked() -> None:
    statement = """SELECT shop_customer.id, shop_customer.email, COUNT(shop_order.id) FROM shop_customer
    LEFT JOIN shop_order ON shop_order.customer_id = shop_customer.id
    WHERE shop_customer.id < 40 GROUP BY shop_customer.id"""
    advice = advise(workload(statement))
    assert advice.skipped == ()
    assert {each[:2] for each in told(advice)} == {("shop_order", "customer_id")}


def test_an_update_pays_for_the_rows_that_it_writes_and_not_for_finding_them() -> None:
    """An entry of a GIN index costs nearly as many pages as a row: nothing beside all that are looked through."""
    only = IndexSpec("shop_order", (Key("details", operator_class="jsonb_path_ops"),), method="gin")
    recorded = workload("""UPDATE shop_order SET details = '{}' WHERE details @> '{"n": 77}'""")
    advice = advise(recorded, candidates=lambda shapes, _: {each.fingerprint: (only,) for each in shapes})
    (finding,) = advice.findings
    assert finding.spec == only
    assert finding.write_cost
    assert finding.write_cost > 0.5


def test_a_row_that_is_not_in_an_index_costs_nothing() -> None:
    only = IndexSpec("shop_order", (Key("made"),), condition="((status)::text = 'failed'::text)")
    recorded = workload("SELECT * FROM shop_order WHERE status = 'failed' ORDER BY made")
    advice = advise(recorded, candidates=lambda shapes, _: {each.fingerprint: (only,) for each in shapes})
    (finding,) = advice.findings
    assert finding.spec == only
    assert finding.write_cost is not None
    assert finding.write_cost < 0.05  # one row in 500 is in it


def test_columns_may_have_any_name() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE shop_order RENAME COLUMN kind_id TO t")
        cursor.execute("ALTER TABLE shop_order RENAME COLUMN note TO n")
        cursor.execute("ALTER TABLE shop_order ADD COLUMN s bigint GENERATED ALWAYS AS (t * 2) STORED")
    (finding,) = advise(workload(BY_CUSTOMER)).findings
    assert finding.write_cost
    assert 0.2 < finding.write_cost < 2


def test_it_advises_where_what_writes_cost_cannot_be_measured() -> None:
    def candidates(shapes: Sequence[QueryShape], _: object) -> dict[str, tuple[IndexSpec, ...]]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'perfkit_scratch_%'")
            ((schema,),) = cursor.fetchall()
            cursor.execute(f"CREATE TABLE {schema}.perfkit_clone_1 ()")  # in the place of the clone
        wanted = {by_customer: index("shop_order", "customer_id"), by_product: index("shop_line", "product")}
        return {each.fingerprint: (wanted[each.samples[0]],) for each in shapes}

    by_customer, by_product = BY_CUSTOMER, "SELECT * FROM shop_line WHERE product = 7"
    advice = advise(workload(by_customer, by_product), candidates=candidates)
    assert told(advice) == {("shop_order", "customer_id"), ("shop_line", "product")}
    assert sorted(each.write_cost is None for each in advice.findings) == [False, True]


def test_one_example_of_many_calls_tells_nothing_of_the_others() -> None:
    asked = "SELECT id, note FROM shop_order WHERE kind_id = {} ORDER BY total DESC LIMIT 20"
    (one,) = advise(workload(shape(asked.format(7), calls=10_000))).findings
    assert one.spec is not None
    assert one.spec.condition == ""
    assert one.spec.columns[:2] == ("kind_id", "total")
    (often,) = advise(workload(replace(shape(asked.format(7), calls=10_000), takings=50))).findings
    assert often.spec is not None
    assert "kind_id = 7" in often.spec.condition


@pytest.mark.parametrize("run_seconds", [0.0, 2.0])
def test_runs_end_by_the_deadline_and_what_they_were_to_prove_is_told(
    run_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock goes on only where a statement is run on the copy."""
    now, runs = [0.0], []
    plan_of = BuiltGround.plan_of

    def timed(ground: BuiltGround, sample: Sample, options: str) -> Mapping[str, Any]:
        if "ANALYZE" in options:
            runs.append(sample.sql)
            now[0] += run_seconds
        return plan_of(ground, sample, options)

    monkeypatch.setattr(BuiltGround, "plan_of", timed)
    recorded = workload(BY_CUSTOMER, LATEST, BY_EMAIL, LINES)
    advice = advise(recorded, deadline_seconds=12, clock=lambda: now[0])
    assert now[0] <= 12
    assert {each[:2] for each in told(advice)} == {
        ("shop_order", "customer_id"),
        ("shop_order", "status"),
        ("shop_customer", "email"),
        ("shop_line", "order_id"),
    }
    assert runs
    assert advice.skipped == ()
    left_out = {NOT_RUN in each.reason for each in advice.findings}
    assert left_out == ({False, True} if run_seconds else {False})


def test_a_statement_that_the_deadline_ends_ends_no_run() -> None:
    """Planning it calls a function, which takes longer than there is time."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION shop_slow() RETURNS bigint LANGUAGE plpgsql STABLE AS "
            "$$ BEGIN PERFORM pg_sleep(60); RETURN 77; END $$"
        )
    try:
        slow = "SELECT note FROM shop_order WHERE customer_id = shop_slow()"
        advice = advise(workload(shape(slow, seconds=0.1), shape(BY_EMAIL)), deadline_seconds=8)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION shop_slow")
    assert told(advice) == {("shop_customer", "email")}
    assert [each.reason for each in advice.skipped] == ["there was no time left for it"]
