"""What is told of a plan: each warning where it is due, and none where not."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.postgres.plan_warnings import warnings_of
from perfkit.postgres.plans import plan_of


def step(
    kind: str, *below: dict[str, Any], rows: float = 1, expected: float = 1, loops: int = 1, **said: Any
) -> Any:
    return {
        "Node Type": kind,
        "Plan Rows": expected,
        "Actual Rows": rows,
        "Actual Loops": loops,
        "Actual Total Time": 1.0,
        "Plans": list(below),
        **{name.replace("_", " "): value for name, value in said.items()},
    }


def told(root: dict[str, Any], **said: Any) -> list[str]:
    plan = plan_of({"Plan": root, "Planning Time": 0.1, "Execution Time": 1.0, **said})
    return [f"{each.step}: {each.problem} > {each.advice}" for each in warnings_of(plan)]


def test_it_says_nothing_of_what_is_right() -> None:
    scan = step("Index Scan", Relation_Name="t", Index_Name="i", rows=20, expected=25)
    assert told(step("Limit", scan, rows=20, expected=20)) == []


def test_it_tells_of_rows_that_are_thrown_away() -> None:
    scan = step(
        "Seq Scan", Relation_Name="t", rows=5, expected=5, Rows_Removed_by_Filter=90_000, Filter="(a=1)"
    )
    assert told(scan) == [
        "Seq Scan on t: 90,005 rows are read and 5 are kept > Add an index on what the condition compares: (a=1)."
    ]
    found = told(scan | {"Node Type": "Index Scan", "Index Name": "i"})
    assert found[0].endswith("The index does not serve the whole condition: add columns of (a=1) to one.")
    assert told(scan | {"Rows Removed by Filter": 9_999}) == []
    assert told(scan | {"Actual Rows": 90_000, "Plan Rows": 90_000}) == []


def test_it_counts_over_all_loops() -> None:
    scan = step(
        "Seq Scan", Relation_Name="t", rows=1, loops=500, Rows_Removed_by_Filter=100, Filter="(a = b)"
    )
    assert "50,500 rows are read and 500 are kept" in told(scan)[0]


def test_it_tells_of_pairs_that_are_compared_in_vain() -> None:
    join = step("Nested Loop", rows=3, expected=3, Rows_Removed_by_Join_Filter=50_000)
    assert "50,003 pairs are compared and 3 are kept" in told(join)[0]


@pytest.mark.parametrize(
    ("rows", "expected", "is_wrong"),
    [(1000, 100, True), (100, 1000, True), (999, 100, False), (99, 1, False), (0, 5000, True)],
)
def test_it_tells_of_wrong_estimates(rows: int, expected: int, is_wrong: bool) -> None:
    found = told(step("Seq Scan", Relation_Name="t", rows=rows, expected=expected))
    assert bool(found) is is_wrong
    if is_wrong:
        assert f"{expected:,} rows were expected and {rows:,} came > ANALYZE t" in found[0]


def test_it_blames_no_estimate_of_rows_that_nobody_asked_for() -> None:
    scan = step("Index Scan", Relation_Name="t", rows=20, expected=90_000)
    assert told(step("Limit", scan, rows=20, expected=20)) == []
    assert told(step("Limit", step("Result", scan, rows=20, expected=90_000), rows=20, expected=20)) == []
    assert len(told(step("Limit", step("Sort", scan, rows=20, expected=20), rows=20, expected=20))) == 1
    assert told(step("Append", step("Seq Scan", rows=0, expected=5000, loops=0), rows=1)) == []


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (
            {"Sort_Space_Type": "Disk", "Sort_Space_Used": 5000, "Sort_Key": ["a", "b DESC"]},
            "spilled 5,000 kB",
        ),
        ({"Hash_Batches": 4, "Original_Hash_Batches": 1}, "went to disk in 4 batches"),
        ({"HashAgg_Batches": 5}, "the groups went to disk in 5 batches"),
        ({"Lossy_Heap_Blocks": 7}, "reads whole pages"),
        ({"Heap_Fetches": 1000}, "1,000 rows of an index-only scan"),
    ],
)
def test_it_tells_of_what_did_not_fit(said: dict[str, Any], problem: str) -> None:
    assert problem in told(step("Sort", **said))[0]
    assert (
        told(step("Sort", Sort_Space_Type="Memory", Hash_Batches=1, HashAgg_Batches=1, Heap_Fetches=9)) == []
    )


@pytest.mark.parametrize(
    "root",
    [
        step("BitmapAnd", rows=0, expected=500),
        step("Limit", step("Aggregate", step("Index Scan", rows=601, expected=200_000), Strategy="Sorted")),
        step("Limit", step("WindowAgg", step("Index Scan", rows=601, expected=200_000))),
        step("Seq Scan", step("Index Scan", rows=1, expected=60_000, Parent_Relationship="SubPlan")),
        step("Merge Join", step("Sort", rows=99_000, expected=5000, Parent_Relationship="Inner")),
        step("Nested Loop", step("Index Only Scan", loops=3000, rows=1, Heap_Fetches=900)),
    ],
)
def test_it_raises_no_false_alarm(root: dict[str, Any]) -> None:
    assert told(root) == []


def test_it_gives_no_advice_on_indexes_where_none_is_read() -> None:
    said = {"Rows_Removed_by_Filter": 90_000, "Filter": "(count(*) > 1)"}
    assert told(step("Aggregate", rows=5, expected=5, **said)) == []


def test_it_sees_what_workers_wrote_to_disk() -> None:
    workers = [{"Sort Space Type": "Disk", "Sort Space Used": 1000} for _ in range(2)]
    assert "spilled 2,000 kB" in told(step("Sort", Workers=workers, Sort_Key=["c"]))[0]


def test_it_tells_of_time_spent_before() -> None:
    assert told(step("Result"), **{"Planning Time": 50.0, "Execution Time": 2.0})[0].startswith(
        "the whole statement: planning took 50.0 ms, running it 2.0 ms"
    )
    compiled = {"Execution Time": 60.0, "JIT": {"Timing": {"Total": 40.0}}}
    assert "compiling it took 40.0 ms of 60.0" in told(step("Result"), **compiled)[0]


def test_it_says_nothing_of_a_statement_that_was_not_run() -> None:
    plan = plan_of({"Plan": {"Node Type": "Seq Scan", "Plan Rows": 90_000, "Relation Name": "t"}})
    assert warnings_of(plan) == []
    assert plan.root.rows is None
    assert plan.root.milliseconds is None


def test_the_time_of_a_step_is_without_those_below() -> None:
    inner = step("Index Scan", loops=10) | {"Actual Total Time": 0.5}
    outer = step("Seq Scan") | {"Actual Total Time": 2.0}
    plan = plan_of({"Plan": step("Nested Loop", outer, inner) | {"Actual Total Time": 8.0}})
    assert [node.milliseconds for node in plan.nodes()] == [1.0, 2.0, 5.0]
