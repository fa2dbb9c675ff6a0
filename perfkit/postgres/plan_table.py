"""A plan as a table for people: its steps with rows, times and pages, and no values. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perfkit.postgres.plans import Plan, PlanNode

NARROW: Final = 12
WIDE: Final = 20


def plan_lines(plan: Plan) -> Iterator[str]:
    """Yield the steps of a plan below a head, those below others indented; the figures of a run where it ran."""
    steps = [("  " * depth + node.title, node) for depth, node in plan.root.walk()]
    width = max(len(title) for title, _ in steps)
    yield (
        f"{'step':<{width}} {'rows':>{NARROW}} {'expected':>{NARROW}} {'loops':>{NARROW}} "
        f"{'ms':>{NARROW}} {'pages (read)':>{WIDE}}"
    )
    for title, node in steps:
        yield f"{title:<{width}} {_numbers(node)}".rstrip()
    if plan.execution_ms is not None and plan.planning_ms is not None:
        yield f"planned in {plan.planning_ms:.1f} ms, run in {plan.execution_ms:.1f} ms"


def _numbers(node: PlanNode) -> str:
    per_loop = node.rows_per_loop
    rows = "" if node.rows is None else "never" if per_loop is None else f"{per_loop:,.0f}"
    loops = "" if node.rows is None else f"{node.loops:,.0f}"
    time = "" if node.milliseconds is None else f"{node.milliseconds:,.2f}"
    pages = "" if node.rows is None else f"{node.hit_buffers + node.read_buffers:,} ({node.read_buffers:,})"
    narrow = [rows, f"{node.estimated_rows:,.0f}", loops, time]
    return " ".join([*(f"{each:>{NARROW}}" for each in narrow), f"{pages:>{WIDE}}"])
