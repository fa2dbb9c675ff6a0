"""Tries candidates for one statement: all at once, then without those that the planner took, and so on. Pure.

Where they are tried is a `Ground`: copies with real indexes, or hypothetical ones on the live statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from perfkit.indexing.advisor.samples import Sample
from perfkit.indexing.advisor.specs import IndexSpec

MOST_ROUNDS: Final = 16
MOST_ALONE: Final = 4
NO_BETTER: Final = 0.995


@dataclass(frozen=True, slots=True)
class Explained:
    """What the planner says of some samples of one shape.

    Attributes:
        cost: On average.
        used: The tried indexes that it would use for any of them.
        plans: One for each sample, as `EXPLAIN (FORMAT JSON)` has them, the indexes by their names there.
        named: The tried indexes by these names.
    """

    cost: float
    used: frozenset[IndexSpec]
    plans: tuple[Mapping[str, Any], ...] = ()
    named: Mapping[str, IndexSpec] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Configuration:
    """Indexes that together make a shape as cheap as that."""

    specs: frozenset[IndexSpec]
    cost: float


class Ground(Protocol):
    """Where candidates are tried."""

    def among(self, specs: Sequence[IndexSpec]) -> AbstractContextManager[tuple[IndexSpec, ...]]:
        """Within the block exactly these are there, beside the existing ones; yields those that could be had."""

    def without(self, specs: Sequence[IndexSpec]) -> AbstractContextManager[None]:
        """Within the block these are not there either."""

    def explain(self, samples: Sequence[Sample]) -> Explained:
        """Ask the planner, without running anything."""

    def size_bytes(self, spec: IndexSpec) -> int | None:
        """How large it would be on the whole table; None where nobody knows."""


def configurations_of(
    ground: Ground, samples: Sequence[Sample], candidates: Sequence[IndexSpec]
) -> tuple[Explained, tuple[Configuration, ...]]:
    """Return what a shape costs without any candidate, and with those that make it cheaper, the cheapest first.

    All are offered; those that are taken are then taken away, until none is taken that helps.
    Of some that are taken together each is also tried alone.
    """
    found: list[Configuration] = []
    with ground.among(candidates) as present:
        base = _narrowed(ground, samples, list(present), found)
    helping = {each.specs: each for each in reversed(found) if each.cost < base.cost * NO_BETTER}
    ordered = sorted(helping.values(), key=lambda each: (each.cost, sorted(map(repr, each.specs))))
    return base, tuple(ordered)


def _narrowed(
    ground: Ground,
    samples: Sequence[Sample],
    present: list[IndexSpec],
    found: list[Configuration],
    depth: int = 0,
) -> Explained:
    if depth == MOST_ROUNDS:
        with ground.without(present):
            return ground.explain(samples)
    explained = ground.explain(samples)
    if not explained.used:
        return explained
    found.append(Configuration(explained.used, explained.cost))
    if 1 < len(explained.used) <= MOST_ALONE:
        for spec in sorted(explained.used, key=repr):
            with ground.without([each for each in present if each != spec]):
                alone = ground.explain(samples)
            if alone.used:
                found.append(Configuration(alone.used, alone.cost))
    left = [each for each in present if each not in explained.used]
    with ground.without(sorted(explained.used, key=repr)):
        return _narrowed(ground, samples, left, found, depth + 1)


def nodes_of(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield all steps of a plan."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes_of(child)


def explained_of(
    plans: Sequence[Mapping[str, Any]], spec_named: Callable[[str], IndexSpec | None]
) -> Explained:
    """Return the average of some plans, and the tried indexes in them."""
    names = {str(node["Index Name"]) for plan in plans for node in nodes_of(plan) if "Index Name" in node}
    named = {name: spec for name in names if (spec := spec_named(name)) is not None}
    cost = sum(float(plan["Total Cost"]) for plan in plans) / len(plans)
    return Explained(cost, frozenset(named.values()), tuple(plans), named)
