"""Asks the advisor about a workload, without hypothetical indexes and with no limit but that each must pay."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Final

from django.db import connections

from benchmarks.advisor.judging import Proposal
from benchmarks.advisor.statements import SAMPLES
from perfkit.indexing.advisor.advising import advise
from perfkit.indexing.advisor.findings import Kind
from perfkit.indexing.advisor.selection import Budget
from perfkit.watching import fingerprint
from perfkit.workload import QueryShape, Workload

ANY: Final = Budget(indexes=1_000, copy_bytes=1 << 32)
DEADLINE_SECONDS: Final = 900.0

CALLS: Final = 1_000
"""Of each shape: all are as frequent, so that each counts."""

TAKINGS: Final = SAMPLES
"""Of each shape: it was asked so often, and where that sent the same each time, there is one example of it."""


def workload_of(
    statements: Mapping[str, Sequence[str]], milliseconds: Mapping[str, float], *, alias: str
) -> Workload:
    """Return a workload in which each shape is asked as often, and takes what it took when it was measured."""
    shapes = [
        QueryShape(
            fingerprint(of[0]),
            CALLS,
            CALLS * milliseconds[name] / 1_000,
            tuple(of),
            (name,),
            takings=TAKINGS,
        )
        for name, of in statements.items()
    ]
    return Workload(alias, tuple(sorted(shapes, key=lambda shape: (-shape.total_seconds, shape.fingerprint))))


def additions(workload: Workload) -> list[Proposal]:
    """Return the indexes that the advisor would add, each with the shapes that it speaks of.

    What it has not looked at is told on standard error.
    """
    names = {shape.fingerprint: shape.callers[0] for shape in workload.shapes}
    assert len(names) == len(workload.shapes), "Two shapes send the same."
    quote = connections[workload.alias].ops.quote_name
    found: list[Proposal] = []
    advice = advise(workload, budget=ANY, deadline_seconds=DEADLINE_SECONDS)
    for finding in advice.findings:
        if finding.kind is Kind.MISSING and finding.spec is not None:
            name = f"advised_{len(found)}"
            shapes = frozenset(names[effect.fingerprint] for effect in finding.effects)
            found.append(Proposal(name, finding.spec.sql(name, quote), shapes))
    for skipped in advice.skipped:
        print(f"Not looked at: {skipped}", file=sys.stderr)
    return found
