"""Candidates that can neither be built nor pretended: what they would save is guessed from the live plan."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from perfkit.indexing.advisor.samples import Sample, as_read
from perfkit.indexing.advisor.sessions import Session
from perfkit.indexing.advisor.specs import IndexSpec
from perfkit.indexing.advisor.trials import Explained, nodes_of

FEW: Final = 0.05
"""Of a table's rows: an index that finds more of them is not proposed without proof."""

LEAST_ROWS: Final = 10_000
DESCENT: Final = 10.0
PER_ROW: Final = 4.1
"""A page read out of order and a row looked at, in the planner's units."""


@dataclass
class GuessedGround:
    """See `trials.Ground`; only what reads all of a large table, for few of its rows, is thought to gain.

    Args:
        rows: Of each table.
    """

    session: Session
    rows: Mapping[str, int]
    _present: list[IndexSpec] = field(default_factory=list)

    def can_try(self, samples: Sequence[Sample]) -> bool:
        """Tell whether all statements can be asked for without further locks."""
        return all(map(as_read, samples))

    @contextmanager
    def among(self, specs: Sequence[IndexSpec]) -> Iterator[tuple[IndexSpec, ...]]:
        """Within the block exactly these are supposed."""
        self.session.limit()
        self._present = list(specs)
        with self.session.transaction():
            self.session.run("SET LOCAL lock_timeout = '2s'")
            yield tuple(self._present)
        self._present = []

    @contextmanager
    def without(self, specs: Sequence[IndexSpec]) -> Iterator[None]:
        """Within the block these are not supposed."""
        before = self._present
        self._present = [spec for spec in before if spec not in specs]
        try:
            yield
        finally:
            self._present = before

    def explain(self, samples: Sequence[Sample]) -> Explained:
        """Ask the planner about the live tables as they are, and guess the rest.

        Raises:
            DatabaseError: A statement is none of this database's.
            OutOfTimeError: The deadline has come.
        """
        plans, used, total = [], set(), 0.0
        with self.session.aside(read_only=True):
            for sample in samples:
                read = as_read(sample)
                assert read is not None  # noqa: S101  # see can_try
                self.session.limit()
                said = self.session.value(f"EXPLAIN (FORMAT JSON) {read.sql}")
                plan = (json.loads(said) if isinstance(said, str) else said)[0]["Plan"]
                plans.append(plan)
                cost, helped = self._guess(plan)
                total += cost
                used |= helped
        return Explained(total / len(samples), frozenset(used), tuple(plans))

    def size_bytes(self, spec: IndexSpec) -> int | None:
        """Nobody knows."""
        del spec
        return None  # as declared

    def _guess(self, plan: Mapping[str, Any]) -> tuple[float, set[IndexSpec]]:
        cost, helped = float(plan["Total Cost"]), set()
        for node in nodes_of(plan):
            spec = next((each for each in self._present if _serves(each, node)), None)
            rows = self.rows.get(str(node.get("Relation Name")), 0)
            if spec is None or rows < LEAST_ROWS:
                continue
            found = float(node["Plan Rows"])
            with_index = DESCENT + found * PER_ROW
            if found <= FEW * rows and with_index < float(node["Total Cost"]):
                cost = max(with_index, cost - float(node["Total Cost"]) + with_index)
                helped.add(spec)
        return cost, helped


def likeliest(wanted: Mapping[str, tuple[IndexSpec, ...]]) -> dict[str, tuple[IndexSpec, ...]]:
    """Return of each shape's candidates the first of each table: a guess cannot tell them apart."""
    return {
        fingerprint: tuple({spec.table: spec for spec in reversed(specs)}.values())
        for fingerprint, specs in wanted.items()
    }


def _serves(spec: IndexSpec, node: Mapping[str, Any]) -> bool:
    """Tell whether a step reads all of the index's table, and compares what the index begins with."""
    if node["Node Type"] != "Seq Scan" or node.get("Relation Name") != spec.table:
        return False
    compared = set(re.findall(r"\w+", str(node.get("Filter", ""))))
    begins = spec.condition or spec.columns[0]
    return not compared.isdisjoint(re.findall(r"\w+", begins))
