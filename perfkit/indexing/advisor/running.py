"""Runs the whole advisor over one database: what a workload lacks, and what stands there for nothing."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from django.db import DEFAULT_DB_ALIAS
from django.utils import timezone

from perfkit.indexing.advisor.enabling import enabling
from perfkit.indexing.advisor.findings import Finding, Kind
from perfkit.indexing.advisor.inspecting import Inspection, inspect
from perfkit.indexing.advisor.redundancy import displaced
from perfkit.indexing.advisor.remedies import remedies
from perfkit.indexing.advisor.reports import Report, in_order
from perfkit.watching import normalised
from perfkit.workload import Workload, read_workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.indexing.advisor.cases import Advice, Skipped

MOST_INDEXES: Final = 30
DEADLINE_SECONDS: Final = 300.0
SHOWN_SKIPPED: Final = 10
LONGEST_SKIPPED: Final = 200
FINDS_ROWS: Final = re.compile(
    r"^(?!INSERT).*\b(FROM|UPDATE)\s+(?!pg_|information_schema\b)", re.IGNORECASE | re.DOTALL
)


def run_advisor(
    using: str = DEFAULT_DB_ALIAS,
    *,
    workload: Workload | None = None,
    since: timedelta | None = None,
    most_indexes: int = MOST_INDEXES,
    most_bytes: int | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
    has_scratch: bool = True,
) -> tuple[Report, Workload]:
    """Look for indexes to add, to drop and to build anew.

    Args:
        using: The alias.
        workload: Another one than what was captured on the database.
        since: Only what was captured in so long a time.
        most_indexes: To add.
        most_bytes: Of the indexes to add, together.
        deadline_seconds: Longest time to find out.
        has_scratch: Whether tables may be copied to prove indexes.

    Returns:
        What to do, and the workload that it is for.

    Raises:
        NoIndexAdviceError: The database is neither PostgreSQL nor SQLite; nothing has happened.
    """
    known = workload if workload is not None else read_workload(using, since=since)
    ends = time.monotonic() + deadline_seconds

    def left_seconds() -> float:
        return ends - time.monotonic()

    inspection = inspect(using, workload=known, left_seconds=left_seconds)
    findings, notes, verified_by = list(inspection.findings), list(inspection.notes), ""
    kinds = inspection.kinds
    is_partial, looked_at = False, frozenset[str]()
    if find_spec("pglast") is not None and known.shapes:
        found = _missing(known, using, most_indexes, most_bytes, left_seconds(), has_scratch=has_scratch)
        added = [replace(each, replaces=_displaced(each, inspection)) for each in found.findings]
        # What goes with an index to add, goes once.
        going = {name for each in added for name in each.replaces}
        findings = [*(each for each in findings if each.name not in going), *added]
        notes += _skipped(found.skipped)
        verified_by, kinds, is_partial = found.verified_by, kinds | {Kind.MISSING}, found.is_partial
        looked_at = looked_at_by(known, found, most_indexes)
    ordered: list[Finding] = in_order(findings)
    report = Report(
        using,
        timezone.now(),
        tuple(remedies(ordered, using, left_seconds=left_seconds)),
        kinds,
        verified_by,
        tuple(notes),
        tuple(enabling(using, known, is_partial=is_partial)),
        known.calls,
        len(known.shapes),
        looked_at,
        inspection.unread,
        inspection.indexes,
        inspection.tables,
        is_narrowed=workload is not None
        or since is not None
        or most_bytes is not None
        or most_indexes < MOST_INDEXES,
    )
    return report, known


def looked_at_by(workload: Workload, found: Advice, most_indexes: int) -> frozenset[str]:
    """Return the statements of which a run without a finding says that they need none any more."""
    if found.is_cut_short or len(found.findings) >= most_indexes:
        return frozenset()
    skipped = {each.fingerprint for each in found.skipped}
    return frozenset(shape.fingerprint for shape in workload.shapes) - skipped


def _displaced(finding: Finding, inspection: Inspection) -> tuple[str, ...]:
    return displaced(finding.spec, inspection.indexes) if finding.spec is not None else ()


def _missing(
    workload: Workload,
    using: str,
    most_indexes: int,
    most_bytes: int | None,
    deadline_seconds: float,
    *,
    has_scratch: bool,
) -> Advice:
    from perfkit.indexing.advisor.advising import advise  # these need pglast
    from perfkit.indexing.advisor.selection import Budget

    budget = Budget(most_indexes, most_bytes)
    return advise(
        workload, using=using, budget=budget, deadline_seconds=deadline_seconds, has_scratch=has_scratch
    )


def _skipped(skipped: Sequence[Skipped]) -> list[str]:
    """Return what is said of them; nothing of what finds no rows of the project's tables."""
    skipped = [each for each in skipped if FINDS_ROWS.search(each.fingerprint)]
    texts = [
        f"Not looked at, for {each.reason}: {_shortened(each.fingerprint)}"
        for each in skipped[:SHOWN_SKIPPED]
    ]
    more = len(skipped) - SHOWN_SKIPPED
    return [*texts, f"And {more:,} more were not looked at."] if more > 0 else texts


def _shortened(statement: str) -> str:
    """Return a statement without its columns; of a long one the middle is left out."""
    text = normalised(statement)
    return (
        text
        if len(text) <= LONGEST_SKIPPED
        else f"{text[: LONGEST_SKIPPED // 2]}…{text[-LONGEST_SKIPPED // 2 :]}"
    )
