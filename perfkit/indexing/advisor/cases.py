"""The statements that are to be served, what was found for them, and what is told of that. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from perfkit.indexing.advisor.evidence import plan_text
from perfkit.indexing.advisor.findings import Confidence, Effect, Finding, Kind
from perfkit.indexing.advisor.samples import INSERT, Sample, UnreadableSampleError, read_sample
from perfkit.indexing.advisor.specs import IndexSpec
from perfkit.indexing.advisor.trials import Explained
from perfkit.workload.shapes import QueryShape, Workload


@dataclass(frozen=True, slots=True)
class Skipped:
    """A statement for which nothing was sought; the reason has no values in it."""

    fingerprint: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """An index that seemed good and is not proposed; the reason has no values in it."""

    spec: IndexSpec
    reason: str


@dataclass(frozen=True)
class Advice:
    """What is to be done, and how it was found out.

    Attributes:
        findings: What saves most, first.
        skipped: In the order of the workload.
        verified_by: In words: copies, hypopg, or the catalogue alone, and why not better.
        copied_rows: Of each table that was copied, the rows of its copy.
        is_partial: Whether rows were not looked at: there were no copies, or some had a part of them.
        is_cut_short: Whether the deadline came while what was tried was being chosen from.
    """

    alias: str
    findings: tuple[Finding, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    verified_by: str = ""
    copied_rows: Mapping[str, int] = field(default_factory=dict)
    is_partial: bool = False
    is_cut_short: bool = False


@dataclass
class Case:
    """One shape, with the statements by which it is tried.

    Attributes:
        weight: Its part of the whole workload, 0.0 to 1.0.
    """

    shape: QueryShape
    weight: float
    samples: list[Sample] = field(default_factory=list)

    @property
    def tables(self) -> set[str]:
        """All that its statements read or write."""
        return {table for sample in self.samples for table in sample.tables}

    @property
    def is_insert(self) -> bool:
        """Whether it only adds rows, so that no index serves it."""
        return all(sample.kind == INSERT for sample in self.samples)


@dataclass
class Docket:
    """All cases of a workload, the most expensive first, and those that were given up."""

    cases: list[Case]
    skipped: dict[str, str] = field(default_factory=dict)

    def skip(self, case: Case, reason: str) -> None:
        """Give a case up."""
        self.skipped[case.shape.fingerprint] = reason
        self.cases.remove(case)

    def told(self, workload: Workload) -> tuple[Skipped, ...]:
        """Return what was given up, in the order of the workload."""
        return tuple(
            Skipped(shape.fingerprint, self.skipped[shape.fingerprint])
            for shape in workload.shapes
            if shape.fingerprint in self.skipped
        )


def docket_of(workload: Workload, *, is_sqlite: bool = False) -> Docket:
    """Return the cases of a workload; those without samples have none yet.

    A shape weighs by the time that it took; where no time is known, by its calls.
    """
    total = workload.total_seconds
    by_calls = max(1, workload.calls)
    docket = Docket([])
    for shape in workload.shapes:
        weight = shape.total_seconds / total if total else shape.calls / by_calls
        case = Case(shape, weight)
        docket.cases.append(case)
        if shape.samples:
            read_samples(docket, case, shape.samples, is_sqlite=is_sqlite)
    docket.cases.sort(key=lambda case: (-case.weight, case.shape.fingerprint))
    return docket


def read_samples(docket: Docket, case: Case, texts: Iterable[str], *, is_sqlite: bool = False) -> None:
    """Give a case those of its statements that can be read; without any it is given up."""
    problem = "its values are not known"
    for text in texts:
        try:
            case.samples.append(read_sample(text, is_sqlite=is_sqlite))
        except UnreadableSampleError as error:
            problem = str(error)
    if not case.samples:
        docket.skip(case, problem)


@dataclass(frozen=True)
class Verdict:
    """What a case costs without and with all that is proposed.

    Attributes:
        is_run: Whether its statements were run too, where they may be; else there was no time for it.
    """

    case: Case
    before: Explained
    after: Explained
    confidence: Confidence
    is_run: bool = True

    @property
    def gain(self) -> float:
        """What it saves of the whole workload."""
        if not self.before.cost:
            return 0.0
        return self.case.weight * max(0.0, 1 - self.after.cost / self.before.cost)

    @property
    def effect(self) -> Effect:
        """What is told of it; plans are those of the newest statement."""
        shape = self.case.shape
        texts = [
            plan_text(each.plans[-1], each.named) if each.plans else "" for each in (self.before, self.after)
        ]
        return Effect(shape.fingerprint, shape.calls, self.before.cost, self.after.cost, *texts)


ORDER = tuple(Confidence)
TOLD_RATIO = 1.05
"""Of a statement that becomes cheaper by less, nothing is told."""

NOT_RUN: Final = "So the planner says; there was no time left to run all of them on the copy."


def finding_of(
    spec: IndexSpec,
    verdicts: Sequence[Verdict],
    *,
    alias: str,
    size_bytes: int | None,
    write_cost: float | None,
) -> Finding:
    """Return what is told of an index that is proposed, and of the statements that would use it."""
    effects = [verdict.effect for verdict in verdicts]
    effects = [effect for effect in effects if effect.ratio >= TOLD_RATIO] or effects
    gain = sum(verdict.gain / len(verdict.after.used) for verdict in verdicts)
    best = max(effect.ratio for effect in effects)
    calls = sum(effect.calls for effect in effects)
    statements = "1 statement" if len(effects) == 1 else f"{len(effects)} statements"
    reason = (
        f"{statements} with {calls:,} {'call' if calls == 1 else 'calls'} would be cheaper with it, "
        f"at best {best:,.1f} times; that saves {100 * gain:.1f} % of the workload's cost."
    )
    if not all(verdict.is_run for verdict in verdicts):
        reason += f" {NOT_RUN}"
    return Finding(
        kind=Kind.MISSING,
        alias=alias,
        table=spec.table,
        spec=spec,
        reason=reason,
        confidence=max((verdict.confidence for verdict in verdicts), key=ORDER.index),
        gain=gain,
        size_bytes=size_bytes,
        write_cost=write_cost,
        effects=tuple(effects),
    )
