"""What a soak has shown, and whether it has proved anything."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, NamedTuple

from tests.soak import names

SHOWN_BEFORE_SECONDS: Final = 2.0
"""Of what happened before a fault."""

MOST_FAULTS: Final = 20
MUST_HIT: Final = (
    *names.LOOKS,
    *(place for place in names.PLACES if place not in {"in a snapshot", *names.SWEEPS}),
)
"""Ways and places of reads that are hits at times."""

HITS_OF_SWEEP: Final = 0.9
"""Of the looks of the second sweep, the least part: the first one has filled the cache, but for rows not there."""

OUTAGES: Final = frozenset({"killed", "paused", "cut", "muted"})
"""Disturbances during which some process cannot reach the server."""


class Plan(NamedTuple):
    """What a soak is to do.

    Args:
        seconds: How long, at least.
        seed: Decides which faults come when; how the processes interleave nobody can decide.
        policy: `CACHE_OUTAGE_WRITES`.
        held_to: Another policy whose promise reads are held to, empty for the same.
        disturbances: Those of `disturbances.py` that must each happen.
        kills: Those of `crew.py`, likewise.
        kill_every_seconds: The least and the most between two kills.
        least_hits: Of all reads.
        least_each: Hits of each way to read, and commits of each way to write.
    """

    seconds: float
    seed: str
    readers: int
    writers: int
    policy: str
    disturbances: Sequence[str]
    kills: Sequence[str]
    kill_every_seconds: tuple[float, float] = (0.8, 2.4)
    held_to: str = ""
    least_hits: int = 1_000
    least_each: int = 3


class Recovery(NamedTuple):
    """How things became well again.

    Args:
        kind: Of what.
        seconds: From the end of the disturbance until every process used the cache.
        hit_rate: Of the reads right after that.
    """

    kind: str
    seconds: float
    hit_rate: float


@dataclass(frozen=True)
class Report:
    """A run.

    Attributes:
        began: On the clock that never goes back; `events` and the times of faults are on it too.
        faults: What must not be, as the processes told it.
        unproved: What kept the run from its end.
    """

    plan: Plan
    began: float
    seconds: float
    counts: Counter[str]
    kills: Counter[str]
    recoveries: Sequence[Recovery]
    events: Sequence[tuple[float, str]]
    faults: Sequence[Mapping[str, Any]]
    unproved: Sequence[str]

    def shortcomings(self) -> list[str]:
        """Return why the run is no success: it has found something, or has not proved enough."""
        return [*self._described_faults()] or [*self.unproved, *self.gaps(), *self._gaps_of_sweep()]

    def gaps(self) -> Iterator[str]:
        """Yield what has not happened often enough, and might if the run went on."""
        plan, counts = self.plan, self.counts
        if counts["hit"] < plan.least_hits:
            yield f"Only {counts['hit']} reads were hits."
        for name in (*(f"hit {name}" for name in MUST_HIT), *(f"write {name}" for name in names.WRITES)):
            if counts[name] < plan.least_each:
                yield f"It happened only {counts[name]} times: {name}."
        if not counts["bypass write in flight"]:
            yield "No reader met a writer in flight."
        happened = {recovery.kind for recovery in self.recoveries}
        yield from (
            f"All was not well again after: {kind}." for kind in plan.disturbances if kind not in happened
        )
        yield from (f"Nobody was killed: {kind}." for kind in plan.kills if not self.kills[kind])
        if OUTAGES & set(plan.disturbances) and not (counts["bypass outage"] and counts["outbox"]):
            yield "No outage was noticed, or no write went through the outbox."

    def text(self) -> str:
        """Return the table for people."""
        lines = [
            f"{'soak of':<36}{self.seconds:>8.0f} s   seed {self.plan.seed}, policy {self.plan.policy!r}"
        ]
        for title, rows in self._tables():
            lines += ["", title, *(f"  {name:<34}{value}" for name, value in rows)]
        return "\n".join(lines)

    def _tables(self) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        counts = self.counts
        outcomes = ("hit", "miss", *(f"bypass {reason}" for reason in names.REASONS))
        reads = sum(counts[name] for name in outcomes)
        yield (
            f"{reads} cached reads, {len(self.faults)} of them wrong" if reads else "no reads",
            [
                (name, f"{counts[name]:>8}  {counts[name] / max(reads, 1):>4.0%}")
                for name in outcomes
                if counts[name]
            ],
        )
        yield "looks, and hits", [(name, self._hits(name)) for name in (*names.LOOKS, *names.PLACES)]
        writes = [(name, f"{counts[f'write {name}']:>8}") for name in names.WRITES]
        yield f"{counts['commits']} commits, {counts['outbox']} through the outbox; writes", writes
        yield f"{self.kills.total()} kills", [(name, f"{self.kills[name]:>8}") for name in sorted(self.kills)]
        by_kind = defaultdict(list)
        for recovery in self.recoveries:
            by_kind[recovery.kind].append(recovery)
        yield (
            "disturbances: how often, median seconds until all were well again, hit rate then",
            [(kind, _recovered(each)) for kind, each in sorted(by_kind.items())],
        )

    def _hits(self, name: str) -> str:
        looks, hits = self.counts[f"look {name}"], self.counts[f"hit {name}"]
        return f"{looks:>8}{hits:>8}  {hits / max(looks, 1):>4.0%}"

    def _described_faults(self) -> Iterator[str]:
        for fault in self.faults[:MOST_FAULTS]:
            facts = ", ".join(
                f"{name}: {value}" for name, value in fault.items() if name not in {"problem", "at", "began"}
            )
            text = f"{fault['problem']}: {facts}" if facts else str(fault["problem"])
            if "at" in fault:
                text = f"{fault['at'] - self.began:.3f} s: {text}"
                lasted = fault["at"] - fault.get("began", fault["at"])
                text += f"; the read took {lasted * 1000:.1f} ms" if "began" in fault else ""
                text += "".join(f"\n    {line}" for line in self._events_before(fault["at"]))
            yield text
        if len(self.faults) > MOST_FAULTS:
            yield f"... and {len(self.faults) - MOST_FAULTS} more"

    def _events_before(self, moment: float) -> list[str]:
        return [
            f"{at - self.began:.3f} s: {text}"
            for at, text in self.events
            if moment - SHOWN_BEFORE_SECONDS <= at <= moment
        ]

    def _gaps_of_sweep(self) -> Iterator[str]:
        _, second = names.SWEEPS
        looks, hits = self.counts[f"look {second}"], self.counts[f"hit {second}"]
        if not looks or hits < HITS_OF_SWEEP * looks:
            yield f"Of {looks} looks in the second sweep {hits} were hits."
        if self.counts["hit in a snapshot"]:
            yield "A read in a snapshot was a hit."


def _recovered(recoveries: Sequence[Recovery]) -> str:
    seconds = median(each.seconds for each in recoveries)
    return f"{len(recoveries):>8}  {seconds:>5.1f} s  {median(each.hit_rate for each in recoveries):>4.0%}"
