"""How much work a plan is, without any database."""

from __future__ import annotations

from typing import Any

from perfkit.indexing.advisor.measuring import AGAIN, work_in


def step(kind: str, pages: int, *below: dict[str, Any], table: str = "", rows: int = 0) -> dict[str, Any]:
    """Return a step of a plan; its pages include those of the steps below it, as EXPLAIN tells them."""
    plan = {"Node Type": kind, "Shared Hit Blocks": pages, "Actual Rows": rows, "Plans": list(below)}
    return plan | ({"Relation Name": table} if table else {})


def test_pages_count_once_whatever_stands_above() -> None:
    assert work_in(step("Limit", 50, step("Sort", 50, step("Seq Scan", 50, table="t")))) == 50


def test_a_page_that_is_read_again_by_an_index_is_cheap() -> None:
    plan = step("Limit", 20_000, step("Index Scan", 20_000, table="t"))
    assert work_in(plan) == 20_000
    assert work_in(plan, {"t": 1_000}) == 1_000 + AGAIN * 19_000
    assert work_in(plan, {"t": 30_000}) == 20_000


def test_each_step_has_the_pages_of_its_own_table() -> None:
    plan = step(
        "Nested Loop", 900, step("Seq Scan", 300, table="s"), step("Index Scan", 600, table="t"), rows=0
    )
    assert work_in(plan, {"s": 300, "t": 100}) == 300 + 100 + AGAIN * 500
