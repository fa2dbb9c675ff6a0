"""How well proposals do beside the best that the search found: what counts as served, redundant and harmful."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.advisor.ground import Ground
from benchmarks.advisor.search import BEST_FILE

TOLERANCE: Final = 1.1
"""So much of the best's cost, or of its time, is as good as the best."""
NOISE_MILLISECONDS: Final = 0.05
"""Below this no two times differ."""
HARM: Final = 1.05
CHANGES: Final = frozenset({"update", "delete"})
"""Kinds of shapes that are run after the others: what they leave, though they are undone, makes those slower."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """An index that somebody proposes.

    Attributes:
        ddl: Builds it, with a name.
        shapes: The names of the shapes that it is proposed for.
    """

    name: str
    ddl: str
    shapes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What proposals did for one shape.

    Attributes:
        before: The planner's cost without any index that is to be found; so are `best` and `advised`.
        milliseconds: Of the best and of the advised, where their costs differ; else None.
    """

    shape: str
    kind: str
    before: float
    best: float
    advised: float
    milliseconds: tuple[float, float] | None = None

    @property
    def is_near_by_cost(self) -> bool:
        """Whether the planner's cost is within the tolerance."""
        return self.advised <= self.best * TOLERANCE

    @property
    def is_near_by_time(self) -> bool:
        """Whether it runs as fast, though the planner thinks otherwise."""
        if self.milliseconds is None:
            return False
        best, advised = self.milliseconds
        return advised <= best * TOLERANCE + NOISE_MILLISECONDS

    @property
    def is_served(self) -> bool:
        """Whether it is as good as with the best, by either measure."""
        return self.is_near_by_cost or self.is_near_by_time

    @property
    def is_harmed(self) -> bool:
        """Whether it is dearer than before."""
        return self.advised > self.before * HARM


def best_indexes() -> dict[str, dict[str, Any]]:
    """Return what the search has found, by the name of the shape."""
    found: dict[str, dict[str, Any]] = json.loads(BEST_FILE.read_text(encoding="utf-8"))["shapes"]
    return found


def share(verdicts: Sequence[Verdict]) -> float:
    """Return how many in a hundred are served.

    Raises:
        ValueError: There is none to judge.
    """
    if not verdicts:
        raise ValueError("There is no verdict.")
    return 100 * sum(each.is_served for each in verdicts) / len(verdicts)


class Judge:
    """Judges proposals on the full tables.

    Args:
        statements: What each shape sends, by its name; those that need no index as well.
        kinds: Of each shape.
        best: What the search has found.
    """

    def __init__(
        self,
        ground: Ground,
        statements: Mapping[str, Sequence[str]],
        kinds: Mapping[str, str],
        best: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._ground = ground
        self._statements = statements
        self._kinds = kinds
        self._best = best
        self.before = {name: ground.cost(of) for name, of in statements.items()}

    def alone(self, proposals: Sequence[Proposal], shapes: Sequence[str]) -> list[Verdict]:
        """Judge each shape with those proposals alone that are made for it."""
        return [
            self._verdict(name, [each.ddl for each in proposals if name in each.shapes]) for name in shapes
        ]

    def together(self, proposals: Sequence[Proposal], alone: Sequence[Verdict]) -> Together:
        """Judge all proposals built together, as a project would have them.

        Args:
            alone: The verdicts on the shapes that need an index: what their best costs, and how long it takes.
        """
        known = {each.shape: each for each in sorted(alone, key=lambda each: each.kind in CHANGES)}
        with self._ground.built([each.ddl for each in proposals]):
            costs = {name: self._ground.cost(of) for name, of in self._statements.items()}
            used = {
                name for of in self._statements.values() for each in of for name in self._ground.indexes(each)
            }
            times = {
                name: self._ground.measure(self._statements[name]).milliseconds
                for name, of in known.items()
                if costs[name] > of.best * TOLERANCE
            }
        verdicts = []
        for name, cost in costs.items():
            of = known.get(name)
            if of is None:
                verdicts.append(Verdict(name, self._kinds[name], self.before[name], self.before[name], cost))
                continue
            milliseconds = None
            if name in times:
                milliseconds = (of.milliseconds or (self._time_of_best(name), 0.0))[0], times[name]
            verdicts.append(Verdict(name, of.kind, of.before, of.best, cost, milliseconds))
        unused = tuple(each.name for each in proposals if each.name not in used)
        return Together(tuple(verdicts), unused)

    def upper_bound_of_two_columns(self, shapes: Sequence[str]) -> list[Verdict]:
        """Judge the best that one- and two-column btrees can do, by what the search has found."""
        return [
            Verdict(
                name,
                self._kinds[name],
                self._best[name]["cost_before"],
                self._best[name]["cost"],
                self._best[name]["cost_of_these"],
            )
            for name in shapes
        ]

    def _verdict(self, name: str, ddls: Sequence[str]) -> Verdict:
        statements = self._statements[name]
        with self._ground.built(self._best[name]["indexes"]):
            best = self._ground.cost(statements)
        with self._ground.built(ddls):
            advised = self._ground.cost(statements)
            time = self._ground.measure(statements).milliseconds if advised > best * TOLERANCE else None
        milliseconds = None if time is None else (self._time_of_best(name), time)
        self._ground.settle()
        return Verdict(name, self._kinds[name], self.before[name], best, advised, milliseconds)

    def _time_of_best(self, name: str) -> float:
        with self._ground.built(self._best[name]["indexes"]):
            return self._ground.measure(self._statements[name]).milliseconds


@dataclass(frozen=True, slots=True)
class Together:
    """What all proposals do together.

    Attributes:
        verdicts: On every shape, those that need no index too.
        unused: The names of the proposals that no plan uses: they are redundant.
    """

    verdicts: tuple[Verdict, ...]
    unused: tuple[str, ...]

    @property
    def harmed(self) -> tuple[str, ...]:
        """The names of the shapes that are dearer than before."""
        return tuple(each.shape for each in self.verdicts if each.is_harmed)
