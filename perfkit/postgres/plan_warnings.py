"""What in a plan costs more than it should, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from perfkit.postgres.plans import Plan, PlanNode

MANY_ROWS: Final = 10_000
"""A table, or rows thrown away, of fewer are read faster than anybody would notice."""
FEW_OF: Final = 0.1
"""An index is worth it where no more of the rows are wanted."""
WRONG_BY: Final = 10.0
"""The planner errs by such a factor before it chooses badly."""
ROWS_THAT_MATTER: Final = 100
HEAP_FETCHES: Final = 1000
STOPPING: Final = frozenset({"Limit", "Merge Join", "Nested Loop"})
"""Steps that may not ask those below for all rows: a join ends with its outer side, or at the first match."""
NOT_COUNTED: Final = frozenset({"BitmapAnd", "BitmapOr"})
"""Steps that always say 0 rows."""
BY_INDEX: Final = frozenset({"Index Scan", "Index Only Scan", "Bitmap Heap Scan"})
LATE_MS: Final = 10.0
"""Planning or compiling of less is not worth a word."""


class PlanWarning(NamedTuple):
    """Something that costs more than it should.

    Attributes:
        step: The title of the step.
        problem: What it costs.
        advice: What to do.
    """

    step: str
    problem: str
    advice: str


def warnings_of(plan: Plan) -> list[PlanWarning]:
    """Return what is wrong with a plan whose statement was run, the first steps first; [] where it was not run."""
    found = list(_below(plan.root, may_stop=False))
    return found + [PlanWarning("the whole statement", *each) for each in _of_all(plan)]


def _below(node: PlanNode, *, may_stop: bool) -> Iterator[PlanWarning]:
    """Yield what is wrong with a step and those below it.

    Args:
        may_stop: Whether the step above may stop asking before the last row, as a LIMIT does.
    """
    if node.rows is not None and node.loops:
        yield from (PlanWarning(node.title, *each) for each in _of_node(node, may_stop=may_stop))
    may_stop = node.kind in STOPPING or (may_stop and not _reads_all(node))
    for child in node.children:
        is_asked = child.said.get("Parent Relationship") in {
            "SubPlan",
            "InitPlan",
        }  # perhaps for its first row
        yield from _below(child, may_stop=may_stop or is_asked)


def _reads_all(node: PlanNode) -> bool:
    """Say whether a step reads all rows before it has one to give."""
    return node.kind in {"Sort", "Hash"} or (
        node.kind == "Aggregate" and node.said.get("Strategy") in {"Hashed", "Plain", "Mixed"}
    )


def _of_node(node: PlanNode, *, may_stop: bool) -> Iterator[tuple[str, str]]:
    yield from _thrown_away(node)
    yield from _misestimated(node, may_stop=may_stop)
    yield from _on_disk(node)
    yield from _not_visible(node)


def _thrown_away(node: PlanNode) -> Iterator[tuple[str, str]]:
    assert node.rows is not None  # noqa: S101  # who calls has looked
    removed = node.total("Rows Removed by Filter")
    seen = node.rows + removed
    if removed >= MANY_ROWS and node.rows <= FEW_OF * seen:
        problem = f"{seen:,.0f} rows are read and {node.rows:,.0f} are kept"
        condition = node.said.get("Filter", "")
        if node.kind == "Seq Scan":
            yield problem, f"Add an index on what the condition compares: {condition}."
        elif node.kind in BY_INDEX:
            yield problem, f"The index does not serve the whole condition: add columns of {condition} to one."
    joined = node.total("Rows Removed by Join Filter")
    if joined >= MANY_ROWS and node.rows <= FEW_OF * (node.rows + joined):
        yield (
            f"{joined + node.rows:,.0f} pairs are compared and {node.rows:,.0f} are kept",
            "Join by equality of columns, with an index on those of the inner table.",
        )


def _misestimated(node: PlanNode, *, may_stop: bool) -> Iterator[tuple[str, str]]:
    actual = node.rows_per_loop
    assert actual is not None  # noqa: S101  # who calls has looked
    if node.kind in NOT_COUNTED or (may_stop and actual < node.estimated_rows):
        return
    if actual > node.estimated_rows and node.said.get("Parent Relationship") == "Inner" and may_stop:
        return  # a merge join goes back, and counts its rows again
    more, less = max(actual, node.estimated_rows), max(min(actual, node.estimated_rows), 1.0)
    if more * node.loops < ROWS_THAT_MATTER or more / less < WRONG_BY:
        return
    analyze = f"ANALYZE {node.table or 'the tables below'}"
    yield (
        f"{node.estimated_rows:,.0f} rows were expected and {actual:,.0f} came",
        f"{analyze}; where that does not help, CREATE STATISTICS on columns that depend on each other.",
    )


def _on_disk(node: PlanNode) -> Iterator[tuple[str, str]]:
    everybody = [node.said, *node.said.get("Workers", ())]
    spilled = [each for each in everybody if each.get("Sort Space Type") == "Disk"]
    if spilled:
        keys = ", ".join(map(str, node.said.get("Sort Key", ())))
        size = sum(int(each.get("Sort Space Used", 0)) for each in spilled)
        yield f"the sort spilled {size:,} kB to disk", f"Index the order ({keys}), or raise work_mem."
    if int(node.said.get("Hash Batches", 1)) > 1:
        yield f"the hash table went to disk in {node.said['Hash Batches']} batches", "Raise work_mem."
    batches = max(int(each.get("HashAgg Batches", 0)) for each in everybody)
    if batches > 1:
        yield f"the groups went to disk in {batches} batches", "Raise work_mem."
    if int(node.said.get("Lossy Heap Blocks", 0)):
        yield "the bitmap forgot which rows it meant, and reads whole pages", "Raise work_mem."


def _not_visible(node: PlanNode) -> Iterator[tuple[str, str]]:
    fetches = float(node.said.get("Heap Fetches", 0))  # of all loops together
    if fetches >= HEAP_FETCHES:
        yield (
            f"{fetches:,.0f} rows of an index-only scan were looked up in the table all the same",
            f"VACUUM {node.table}, and have autovacuum come there more often.",
        )


def _of_all(plan: Plan) -> Iterator[tuple[str, str]]:
    if plan.execution_ms is None or plan.planning_ms is None:
        return
    if plan.planning_ms > max(plan.execution_ms, LATE_MS):
        yield (
            f"planning took {plan.planning_ms:.1f} ms, running it {plan.execution_ms:.1f} ms",
            "Join fewer tables, or let statements be prepared.",
        )
    if plan.jit_ms > max(plan.execution_ms / 3, LATE_MS):
        yield (
            f"compiling it took {plan.jit_ms:.1f} ms of {plan.execution_ms:.1f}",
            "Raise jit_above_cost, or SET jit = off.",
        )
