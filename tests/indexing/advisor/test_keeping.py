from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from perfkit.errors import AdviceDecisionError
from perfkit.indexing.advisor.cases import Advice, Skipped
from perfkit.indexing.advisor.findings import Confidence, Effect, Finding, Kind
from perfkit.indexing.advisor.keeping import accept, advice_key, dismiss, keep, remember_migrations
from perfkit.indexing.advisor.remedies import Remedy, remedies
from perfkit.indexing.advisor.reports import Report
from perfkit.indexing.advisor.running import looked_at_by, run_advisor
from perfkit.indexing.advisor.specs import IndexSpec, Key
from perfkit.indexing.advisor.writing import planned_migrations
from perfkit.models import IndexAdvice, WorkloadCount, WorkloadSample, WorkloadShape
from perfkit.workload import QueryShape, Workload, read_workload

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 5, 4, 12, tzinfo=dt.UTC)
SHAPE = 'SELECT "flights_airline"."name" FROM "flights_airline" WHERE "name" = ?'
TO_ADD = Finding(
    Kind.MISSING,
    "default",
    "flights_airline",
    IndexSpec("flights_airline", (Key("name"),)),
    "It is missing.",
    Confidence.BUILT,
    gain=0.25,
    effects=(Effect(SHAPE, 7, 100.0, 4.0, "Seq Scan", "Index Scan"),),
)
SENT = """SELECT "flights_airline"."name" FROM "flights_airline" WHERE "name" = 'a'"""
TO_DROP = replace(TO_ADD, kind=Kind.UNUSED, name="flights_by_hand", effects=(), gain=0.0)


def report(*findings: Finding, days: int = 0, **more: Any) -> Report:
    return Report("default", NOW + dt.timedelta(days=days), tuple(remedies(findings, "default")), **more)


def workload(mean: float) -> Workload:
    return Workload("default", (QueryShape(SHAPE, 10, 10 * mean),))


def states() -> dict[str, str]:
    return dict(IndexAdvice.objects.values_list("kind", "state"))


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_the_same_advice_is_one_row() -> None:
    assert keep(report(TO_ADD, TO_DROP)) == (2, 0, 0, 0)
    assert keep(report(replace(TO_ADD, gain=0.5), TO_DROP, days=7)) == (0, 2, 0, 0)
    row = IndexAdvice.objects.get(kind="missing")
    assert (row.gain, row.first_seen_at, row.last_seen_at) == (0.5, NOW, NOW + dt.timedelta(days=7))
    assert row.model_label == "flights.Airline"
    assert row.evidence[0]["plan_after"] == "Index Scan"


def test_what_people_have_decided_stays() -> None:
    keep(report(TO_ADD, TO_DROP))
    added, dropped = (IndexAdvice.objects.get(kind=kind).key for kind in ("missing", "unused"))
    accept(added, "ada")
    dismiss(dropped, "ada", " It is for the yearly report. ")
    keep(report(TO_ADD, TO_DROP, days=1))
    assert states() == {"missing": "accepted", "unused": "dismissed"}
    row = IndexAdvice.objects.get(pk=dropped)
    assert (row.note, row.decided_by) == ("It is for the yearly report.", "ada")
    keep(report(days=2))
    assert states() == {"missing": "gone", "unused": "dismissed"}


def test_what_is_not_found_any_more_was_applied_or_has_no_reason() -> None:
    sql("CREATE INDEX flights_by_hand ON flights_airline (name)")
    keep(report(TO_ADD, TO_DROP), workload(0.5))
    name = IndexAdvice.objects.get(kind="missing").index_name
    assert keep(report(days=1, kinds=frozenset({Kind.UNUSED}))) == (0, 0, 0, 1)
    assert states() == {"missing": "open", "unused": "gone"}
    keep(report(TO_ADD, TO_DROP, days=2), workload(0.6))
    assert states() == {"missing": "open", "unused": "open"}
    sql("DROP INDEX flights_by_hand")
    sql(f"CREATE INDEX {name} ON flights_airline (name)")
    assert keep(report(days=3)) == (0, 0, 2, 0)
    assert states() == {"missing": "applied", "unused": "applied"}
    asked = []

    def captured(alias: str, begin: dt.datetime) -> Workload:
        asked.append((alias, begin))
        return workload(0.01)

    keep(report(days=3), workload(0.3), captured=captured)
    assert asked == []  # within the hour, what was captured is of before, too
    keep(report(days=4), workload(0.3), captured=captured)
    assert asked == [("default", NOW + dt.timedelta(days=3, hours=1))]
    row = IndexAdvice.objects.get(kind="missing")
    assert (row.before, row.outcome) == ({SHAPE: 0.6}, {SHAPE: 0.01})
    assert row.applied_at == NOW + dt.timedelta(days=3)
    keep(report(TO_ADD, days=5))
    row.refresh_from_db()
    assert (row.state, row.applied_at, row.outcome) == ("open", None, None)


def test_what_a_run_has_not_looked_at_is_not_gone() -> None:
    keep(report(TO_ADD))
    accept(IndexAdvice.objects.get().key, "ada")
    assert keep(report(days=1, looked_at=frozenset({"another"}))) == (0, 0, 0, 0)
    assert keep(report(days=1, is_narrowed=True)) == (0, 0, 0, 0)
    assert states() == {"missing": "accepted"}
    sql(f"CREATE INDEX {IndexAdvice.objects.get().index_name} ON flights_airline (name)")
    assert keep(report(days=2, looked_at=frozenset(), is_narrowed=True)) == (0, 0, 1, 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("how", "state"),
    [
        ({}, "gone"),
        ({"deadline_seconds": 0.001}, "accepted"),
        ({"since": dt.timedelta(hours=1)}, "accepted"),
        ({"most_indexes": 1}, "accepted"),
        ({"most_bytes": 10**9}, "accepted"),
        ({"workload": Workload("default", ())}, "accepted"),
        ({"workload": Workload("default", (QueryShape(SHAPE, 1, 1.0, (SENT,)),))}, "accepted"),
    ],
)
def test_only_a_whole_run_finds_that_something_is_gone(how: dict[str, Any], state: str) -> None:
    now = timezone.now()
    keep(Report("default", now, tuple(remedies([TO_ADD], "default"))))
    accept(IndexAdvice.objects.get().key, "ada")
    WorkloadShape.objects.create(digest="d", fingerprint=SHAPE, first_at=now, last_at=now)
    WorkloadCount.objects.create(shape_digest="d", hour=int(now.timestamp() // 3600), calls=2, microseconds=9)
    WorkloadSample.objects.create(shape_digest="d", slot=0, statement=SENT, caller="-", taken_at=now)
    keep(run_advisor(**how)[0])
    assert IndexAdvice.objects.get(kind="missing").state == state


def test_a_run_that_has_found_as_many_as_it_may_says_of_none_that_it_is_gone() -> None:
    full = Advice("default", findings=(TO_ADD,) * 2)
    assert looked_at_by(workload(0.5), full, 2) == frozenset()
    assert looked_at_by(workload(0.5), replace(full, is_cut_short=True), 3) == frozenset()
    assert looked_at_by(workload(0.5), replace(full, skipped=(Skipped(SHAPE, ""),)), 3) == frozenset()
    assert looked_at_by(workload(0.5), full, 3) == {SHAPE}


def test_what_was_decided_holds_again_where_it_is_found_again() -> None:
    other = replace(TO_ADD, spec=IndexSpec("flights_airline", (Key("code"), Key("name"))))
    found = report(TO_ADD, other, TO_DROP)
    keep(found)
    for_accepted, for_written = (advice_key(each) for each in found.remedies[:2])
    accept(for_accepted, "ada")
    planned = planned_migrations(found.remedies[1:2])
    remember_migrations(planned.files)
    sql("CREATE INDEX flights_by_hand ON flights_airline (code)")
    assert keep(report(days=1)) == (0, 0, 0, 3)
    assert keep(report(TO_ADD, other, TO_DROP, days=2)) == (0, 3, 0, 0)
    rows = IndexAdvice.objects.in_bulk()
    assert (rows[for_accepted].state, rows[for_accepted].decided_by) == ("accepted", "ada")
    assert (rows[for_written].state, rows[for_written].migration) == ("written", planned.files[0].label)
    assert rows[advice_key(found.remedies[2])].state == "open"


def test_what_was_applied_is_to_be_decided_anew_where_it_is_found_again() -> None:
    keep(report(TO_ADD))
    row = IndexAdvice.objects.get()
    accept(row.key, "ada")
    IndexAdvice.objects.update(state="applied", migration="flights.0007_x")
    keep(report(TO_ADD, days=1))
    keep(report(days=2))
    keep(report(TO_ADD, days=3))
    row.refresh_from_db()
    assert (row.state, row.decided_by, row.decided_at, row.migration) == ("open", "", None, "")


def test_what_was_built_under_another_name_was_applied() -> None:
    keep(report(TO_ADD), workload(0.5))
    sql("CREATE UNIQUE INDEX of_my_own ON flights_airline (name)")
    assert keep(report(days=1)) == (0, 0, 1, 0)
    row = IndexAdvice.objects.get()
    assert (row.state, row.index_name) == ("applied", "of_my_own")
    assert row.applied_at == NOW + dt.timedelta(days=1)
    keep(report(days=2), captured=lambda _, __: workload(0.01))
    row.refresh_from_db()
    assert (row.before, row.outcome) == ({SHAPE: 0.5}, {SHAPE: 0.01})


WANTED = IndexSpec(
    "flights_airline",
    (Key("name", descending=True, nulls_first=False), Key("code", operator_class="varchar_pattern_ops")),
    ("id",),
    "name <> 'x'",
)
"""Of which every part makes another index."""


@pytest.mark.skipif(connection.vendor != "postgresql", reason="of indexes that only PostgreSQL has")
@pytest.mark.parametrize(
    ("statement", "state"),
    [
        (
            "(name DESC NULLS LAST, code varchar_pattern_ops) INCLUDE (id) WHERE (name)::text <> 'x'",
            "applied",
        ),
        ("(name DESC NULLS LAST, code varchar_pattern_ops) INCLUDE (id) WHERE name <> 'y'", "gone"),
        ("(name DESC NULLS LAST, code varchar_pattern_ops) INCLUDE (id)", "gone"),
        ("(name DESC NULLS LAST, code varchar_pattern_ops) WHERE name <> 'x'", "gone"),
        ("(name DESC NULLS LAST, code) INCLUDE (id) WHERE name <> 'x'", "gone"),
        ("(name DESC, code varchar_pattern_ops) INCLUDE (id) WHERE name <> 'x'", "gone"),
        ("(code varchar_pattern_ops, name DESC NULLS LAST) INCLUDE (id) WHERE name <> 'x'", "gone"),
    ],
)
def test_another_index_is_not_taken_for_it(statement: str, state: str) -> None:
    sql("ALTER TABLE flights_airline ADD COLUMN IF NOT EXISTS id bigint")
    keep(report(replace(TO_ADD, spec=WANTED)))
    sql(f"CREATE INDEX of_my_own ON flights_airline {statement}")
    keep(report(days=1))
    assert states() == {"missing": state}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="of a method that only PostgreSQL has")
def test_another_method_is_not_taken_for_it() -> None:
    keep(report(TO_ADD))
    sql("CREATE INDEX of_my_own ON flights_airline USING hash (name)")
    keep(report(days=1))
    assert states() == {"missing": "gone"}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="of expressions as PostgreSQL writes them")
def test_an_expression_is_known_in_each_writing() -> None:
    spec = IndexSpec("flights_airline", (Key("upper(name::text)", is_expression=True),))
    keep(report(replace(TO_ADD, spec=spec)))
    sql("CREATE INDEX of_my_own ON flights_airline (UPPER(name))")
    assert keep(report(days=1)) == (0, 0, 1, 0)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="of PostgreSQL's builds that fail")
def test_a_build_that_failed_has_not_applied_it() -> None:
    keep(report(TO_ADD))
    name = IndexAdvice.objects.get().index_name
    sql(f"CREATE INDEX {name} ON flights_airline (name)")
    sql(f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{name}'::regclass")
    sql("CREATE INDEX of_my_own ON flights_airline (name)")
    sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'of_my_own'::regclass")
    assert keep(report(days=1)) == (0, 0, 0, 1)
    assert states() == {"missing": "gone"}


def test_its_outcome_is_of_what_was_captured_since() -> None:
    now = timezone.now().replace(minute=30)
    keep(Report("default", now, tuple(remedies([TO_ADD], "default"))), workload(0.5))
    IndexAdvice.objects.update(state="applied", applied_at=now - dt.timedelta(hours=5))
    WorkloadShape.objects.create(digest="d", fingerprint=SHAPE, first_at=now, last_at=now)
    hour = int(now.timestamp() // 3600)
    for earlier, microseconds in ((9, 900_000), (5, 800_000), (4, 20_000), (0, 40_000)):
        WorkloadCount.objects.create(
            shape_digest="d", hour=hour - earlier, calls=2, microseconds=microseconds
        )
    keep(Report("default", now, (), kinds=frozenset()), read_workload())
    assert IndexAdvice.objects.get().outcome == {SHAPE: pytest.approx(0.015)}


def test_a_key_is_of_what_is_to_be_done_and_where() -> None:
    other = replace(TO_ADD, alias="other")
    assert advice_key(Remedy(other, "x", "")) != advice_key(Remedy(TO_ADD, "x", ""))
    assert advice_key(Remedy(TO_ADD, "x", "")) == advice_key(Remedy(replace(TO_ADD, gain=0.9), "y", "z"))


def test_a_decision_needs_a_reason_and_a_state() -> None:
    keep(report(TO_ADD))
    (row,) = IndexAdvice.objects.all()
    with pytest.raises(AdviceDecisionError, match="a reason is needed"):
        dismiss(row.key, "ada", "  ")
    IndexAdvice.objects.update(state="applied")
    with pytest.raises(AdviceDecisionError, match="in a state"):
        accept(row.key, "ada")
    with pytest.raises(AdviceDecisionError, match="in a state"):
        dismiss("nothing", "ada", "why")


def test_it_remembers_which_migration_does_it() -> None:
    found = report(TO_ADD)
    keep(found)
    planned = planned_migrations(found.remedies)
    assert remember_migrations(planned.files) == 1
    row = IndexAdvice.objects.get()
    assert (row.state, row.migration) == ("written", planned.files[0].label)
    assert row.migration.startswith("flights.")


def test_it_needs_as_many_queries_whatever_the_number(django_assert_max_num_queries: Any) -> None:
    many = [
        replace(TO_DROP, name=f"index_{number}", spec=IndexSpec("flights_airline", (Key("name"),)))
        for number in range(50)
    ]
    found = report(*many)
    with django_assert_max_num_queries(8):
        keep(found)
    assert IndexAdvice.objects.count() == 50
