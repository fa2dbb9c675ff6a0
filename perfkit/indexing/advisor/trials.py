"""Tries candidates for one statement: all at once, then without those that the planner took, and so on. Pure.

Where they are tried is a `Ground`: copies with real indexes, or hypothetical ones on the live statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from perfkit.indexing.advisor.samples import Sample
from perfkit.indexing.advisor.sessions import OutOfTimeError
from perfkit.indexing.advisor.specs import IndexSpec

MOST_ROUNDS: Final = 16
MOST_ALONE: Final = 4
MOST_EXPRESSIONS: Final = 8
"""Of a statement's candidates, the likeliest first, that are tried alone in any case."""
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
    So is each with an expression, for the planner knows of an expression what any index that has it says.
    """
    found: list[Configuration] = []
    alone: list[Configuration] = []
    with ground.among(candidates) as present:
        base = _narrowed(ground, samples, list(present), found)
        expressions = [spec for spec in present if any(key.is_expression for key in spec.keys)]
        if len(present) > 1:
            with suppress(OutOfTimeError):  # what was found until then holds
                for spec in expressions[:MOST_EXPRESSIONS]:
                    alone += _alone(ground, samples, spec, present)
    known = {each.specs: each for each in (*reversed(found), *alone)}
    helping = [each for each in known.values() if each.cost < base.cost * NO_BETTER]
    return base, tuple(sorted(helping, key=lambda each: (each.cost, sorted(map(repr, each.specs)))))


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
            found += _alone(ground, samples, spec, present)
    left = [each for each in present if each not in explained.used]
    with ground.without(sorted(explained.used, key=repr)):
        return _narrowed(ground, samples, left, found, depth + 1)


def _alone(
    ground: Ground, samples: Sequence[Sample], spec: IndexSpec, present: Sequence[IndexSpec]
) -> list[Configuration]:
    """Return what one candidate does without the others that are there; nothing where it is not taken."""
    with ground.without([each for each in present if each != spec]):
        explained = ground.explain(samples)
    return [Configuration(explained.used, explained.cost)] if explained.used else []


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
