"""Plans as text, without values in them, and what an index is, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from perfkit.indexing.advisor.specs import BTREE, IndexSpec
from perfkit.postgres.plans import plan_of
from perfkit.watching import fingerprint

CONDITIONS: Final = (
    *("Index Cond", "Recheck Cond", "Filter", "Join Filter", "Hash Cond", "Merge Cond"),
    *("Sort Key", "Presorted Key", "Group Key"),
)


def plan_text(plan: Mapping[str, Any], named: Mapping[str, IndexSpec]) -> str:
    """Return a plan's steps, with what they compare and what they cost.

    Args:
        named: The indexes that are only tried, by their names in the plan.
    """
    lines = []
    for depth, node in plan_of({"Plan": plan}).root.walk():
        title = node.title
        index = node.said.get("Index Name")
        spec = named.get(str(index))
        if spec is not None:
            title = title.replace(f"using {index}", f"using the new {described(spec)}")
        lines.append(
            f"{'  ' * depth}{title} (cost {float(node.said['Total Cost']):,.0f}, rows {node.estimated_rows:,.0f})"
        )
        for name in CONDITIONS:
            said = node.said.get(name)
            if said:
                text = ", ".join(said) if isinstance(said, list) else str(said)
                lines.append(f"{'  ' * depth}    {name}: {fingerprint(text)}")
    return "\n".join(lines)


def described(spec: IndexSpec) -> str:
    """Return an index in words: its method, keys and what it carries; values of a condition as `?`."""
    method = "" if spec.method == BTREE else f"{spec.method} "
    text = f"{method}index on {spec.table} ({', '.join(key.sql(str) for key in spec.keys)})"
    if spec.include:
        text += f" carrying {', '.join(spec.include)}"
    return f"{text} where {fingerprint(spec.condition)}" if spec.condition else text
