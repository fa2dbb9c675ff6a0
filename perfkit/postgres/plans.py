"""The plan of a statement, as `EXPLAIN (FORMAT JSON)` tells it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class PlanNode:
    """One step of a plan.

    Attributes:
        title: Its kind, table and index: `Index Scan on flights_flight using flight_by_time`.
        estimated_rows: Rows of one loop, as the planner thought.
        rows: Rows of all loops, None where the statement was not run.
        loops: How often the step was run, 0 where never.
        milliseconds: In the step itself, without those below it; over all loops and workers.
        hit_buffers: Pages found in memory, those of the steps below included.
        read_buffers: Pages asked of the disk or the system's cache, likewise.
        said: All that EXPLAIN says of the step, by its names.
    """

    title: str
    estimated_rows: float
    rows: float | None
    loops: float
    milliseconds: float | None
    hit_buffers: int
    read_buffers: int
    said: Mapping[str, Any] = field(repr=False)
    children: Sequence[PlanNode] = ()

    @property
    def kind(self) -> str:
        """Such as `Seq Scan`."""
        return str(self.said["Node Type"])

    @property
    def table(self) -> str | None:
        """The table that is read, None where none is."""
        name = self.said.get("Relation Name")
        return None if name is None else str(name)

    @property
    def rows_per_loop(self) -> float | None:
        """Rows of one loop on average, None where the step never ran."""
        return None if self.rows is None or not self.loops else self.rows / self.loops

    def total(self, name: str) -> float:
        """Return a number that EXPLAIN gives for one loop, for all of them."""
        return float(self.said.get(name, 0)) * max(self.loops, 1)

    def walk(self, depth: int = 0) -> Iterator[tuple[int, PlanNode]]:
        """Yield this step and all below it, with their depths, in the order of EXPLAIN."""
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)


@dataclass(frozen=True)
class Plan:
    """The plan of one statement.

    Attributes:
        planning_ms: None where EXPLAIN did not say.
        execution_ms: None where the statement was not run.
        jit_ms: Spent on compiling it, 0.0 where it was not.
    """

    root: PlanNode
    planning_ms: float | None
    execution_ms: float | None
    jit_ms: float

    def nodes(self) -> Iterator[PlanNode]:
        """Yield all steps."""
        return (node for _, node in self.root.walk())


def plan_of(said: Mapping[str, Any]) -> Plan:
    """Return the plan in what EXPLAIN has said of one statement.

    Source:
        PostgreSQL manual, "EXPLAIN" and "Using EXPLAIN".
    """
    return Plan(
        root=_node(said["Plan"]),
        planning_ms=said.get("Planning Time"),
        execution_ms=said.get("Execution Time"),
        jit_ms=said.get("JIT", {}).get("Timing", {}).get("Total", 0.0),
    )


def _node(said: Mapping[str, Any]) -> PlanNode:
    children = [_node(child) for child in said.get("Plans", ())]
    loops = float(said.get("Actual Loops", 0))
    per_loop = said.get("Actual Rows")
    return PlanNode(
        title=_title(said),
        estimated_rows=float(said["Plan Rows"]),
        rows=None if per_loop is None else float(per_loop) * loops,
        loops=loops,
        milliseconds=_own_milliseconds(said),
        hit_buffers=int(said.get("Shared Hit Blocks", 0)),
        read_buffers=int(said.get("Shared Read Blocks", 0)),
        said=said,
        children=children,
    )


def _title(said: Mapping[str, Any]) -> str:
    parts = [str(said["Node Type"])]
    if said.get("Parallel Aware"):
        parts.insert(0, "Parallel")
    name = said.get("Relation Name") or said.get("CTE Name") or said.get("Function Name")
    if name:
        alias = said.get("Alias", name)
        parts.append(f"on {name}" if alias == name else f"on {name} {alias}")
    if "Index Name" in said:
        parts.append(f"using {said['Index Name']}")
    return " ".join(parts)


def _own_milliseconds(said: Mapping[str, Any]) -> float | None:
    if "Actual Total Time" not in said:
        return None
    below = sum(_all_milliseconds(child) for child in said.get("Plans", ()))
    return max(_all_milliseconds(said) - below, 0.0)


def _all_milliseconds(said: Mapping[str, Any]) -> float:
    return float(said.get("Actual Total Time", 0.0)) * float(said.get("Actual Loops", 0))
