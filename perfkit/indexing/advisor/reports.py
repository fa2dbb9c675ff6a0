"""A whole run of the advisor: what to do, how that is known, and what it could not look at."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from perfkit.indexing.advisor.findings import Finding, Kind
from perfkit.indexing.advisor.remedies import Remedy
from perfkit.indexing.advisor.standing import StandingIndex, StandingTable

VERSION: Final = 1
"""Of what `as_json` returns."""

ORDER: Final = (
    Kind.MISSING,
    Kind.FOREIGN_KEY,
    Kind.INVALID,
    Kind.DUPLICATE,
    Kind.REDUNDANT,
    Kind.UNUSED,
    Kind.UNSELECTIVE,
    Kind.BLOATED,
)


@dataclass(frozen=True, slots=True)
class Report:
    """One run over one database.

    Attributes:
        remedies: What to do, what gains most first.
        kinds: What was looked for; of the others nothing can be told.
        looked_at: Fingerprints of the statements that indexes were sought for to the end; None where all were.
        indexes: That are there and were looked at.
        tables: That are there.
        unread: Tables of which nothing can be told, for others had locked them.
        is_narrowed: Whether a part of the workload was asked for, or some of the indexes: what such a run
            does not find may be as good as before.
        verified_by: How gains are known, in words.
        notes: What was left out, and why.
        enabling: What is not there, and how to have it.
        calls: Of the workload; so is `shapes`.
    """

    alias: str
    made_at: dt.datetime
    remedies: tuple[Remedy, ...]
    kinds: frozenset[Kind] = frozenset(Kind)
    verified_by: str = ""
    notes: tuple[str, ...] = ()
    enabling: tuple[str, ...] = ()
    calls: int = 0
    shapes: int = 0
    looked_at: frozenset[str] | None = None
    unread: frozenset[str] = frozenset()
    indexes: tuple[StandingIndex, ...] = ()
    tables: Mapping[str, StandingTable] = field(default_factory=dict)
    is_narrowed: bool = False


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings by kind, gain and size; a foreign key that an index to add serves is left out. Pure."""
    found = list(findings)
    leading = {
        (each.table, frozenset(each.spec.columns[:count]))
        for each in found
        if each.kind is Kind.MISSING and each.spec is not None and not each.spec.condition
        for count in range(1, len(each.spec.keys) + 1)
    }
    kept = [
        each
        for each in found
        if each.kind is not Kind.FOREIGN_KEY
        or each.spec is None
        or (each.table, frozenset(each.spec.columns)) not in leading
    ]
    return sorted(
        kept,
        key=lambda each: (
            ORDER.index(each.kind),
            -each.gain,
            -(each.size_bytes or 0),
            each.table,
            each.name or str(each.spec),
        ),
    )


def as_json(report: Report) -> dict[str, Any]:
    """Return a report as values that JSON has, none of them a statement's."""
    return {
        "version": VERSION,
        "database": report.alias,
        "made_at": report.made_at.isoformat(),
        "verified_by": report.verified_by,
        "workload": {"calls": report.calls, "shapes": report.shapes},
        "notes": list(report.notes),
        "enabling": list(report.enabling),
        "findings": [finding_json(each) for each in report.remedies],
    }


def finding_json(remedy: Remedy) -> dict[str, Any]:
    """Return one of its findings."""
    finding = remedy.finding
    return {
        "kind": finding.kind.value,
        "table": finding.table,
        "model": remedy.model,
        "index": remedy.name,
        "is_addition": finding.is_addition,
        "reason": finding.reason,
        "confidence": finding.confidence.value,
        "gain": finding.gain,
        "size_bytes": finding.size_bytes,
        "write_cost": finding.write_cost,
        "kept_by": finding.kept_by,
        "sql": remedy.sql,
        "meta_line": remedy.meta_line,
        "imports": list(remedy.imports),
        "by_hand": remedy.by_hand,
        "effects": list(effects_json(finding)),
    }


def effects_json(finding: Finding) -> Iterator[dict[str, Any]]:
    """Yield what it does for each shape."""
    for each in finding.effects:
        yield {
            "fingerprint": each.fingerprint,
            "calls": each.calls,
            "cost_before": each.cost_before,
            "cost_after": each.cost_after,
            "plan_before": each.plan_before,
            "plan_after": each.plan_after,
        }
