"""Chooses among candidates for a whole workload: what saves most, within a budget, and harms nobody. Pure.

# Note [What is worth an index]
An index is worth it where it saves 1 % of the workload's cost, or makes a statement a quarter cheaper;
in either case some statement must become a sixth cheaper, and by a page read at random.
A statement that costs little in any case, as on a small table, must become half as expensive, and by some more;
so must one that was hardly ever sent, and by much: a report that reads a table.
What its writes cost is taken off what it saves.
Of indexes that serve a statement within 5 % of each other the smaller one is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from perfkit.indexing.advisor.existing import covers
from perfkit.indexing.advisor.specs import IndexSpec
from perfkit.indexing.advisor.trials import Configuration

LEAST_GAIN: Final = 0.01
LEAST_RATIO: Final = 1.2
LARGE_RATIO: Final = 1.33
LEAST_COST_SAVED: Final = 4.0
"""In the planner's units, one of which is a page read in order, and four a page read at random."""

LITTLE: Final = 100.0
"""What costs less is looked at more strictly, by the next two."""
LARGE_RATIO_OF_LITTLE: Final = 2.0
LEAST_COST_SAVED_OF_LITTLE: Final = 25.0
"""What reading a thousand short rows costs."""

RARE_CALLS: Final = 10
RARE_COST_SAVED: Final = 500.0
"""Of a statement that was sent less often; some milliseconds."""

NEAR: Final = 1.05
MOST_ROUNDS: Final = 8
NOTHING: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be proposed, and how much may be used to find out.

    Attributes:
        indexes: At most so many.
        size_bytes: Of all of them together on the live tables, None for any.
        copy_rows: Of one table in its scratch copy.
        copy_bytes: Of all copies together, and as much again for indexes on them.
    """

    indexes: int = 30
    size_bytes: int | None = None
    copy_rows: int = 200_000
    copy_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class ShapeCosts:
    """What one shape costs, without and with indexes.

    Attributes:
        weight: Its part of the whole workload, 0.0 to 1.0.
        cost: Without any of them.
        configurations: The cheapest first.
        is_rare: Whether it was sent less than `RARE_CALLS` times.
    """

    fingerprint: str
    weight: float
    cost: float
    configurations: tuple[Configuration, ...]
    is_rare: bool = False

    def with_indexes(self, chosen: frozenset[IndexSpec] | set[IndexSpec]) -> float:
        """Return what it costs where these are there."""
        return next((each.cost for each in self.configurations if each.specs <= chosen), self.cost)


@dataclass(frozen=True, slots=True)
class Price:
    """What an index costs.

    Attributes:
        size_bytes: On the live table.
        writes: What it adds to the whole workload's cost, as a part of it.
    """

    size_bytes: int = 0
    writes: float = 0.0


@dataclass(slots=True)
class _Shape:
    """One shape, its indexes as bits of a number; what a choice of them costs is looked up once."""

    weight: float
    cost: float
    best: float
    mask: int
    configurations: tuple[tuple[int, float], ...]
    is_rare: bool
    known: dict[int, float] = field(default_factory=dict)

    def with_indexes(self, chosen: int) -> float:
        wanted = chosen & self.mask
        found = self.known.get(wanted)
        if found is None:
            found = next((cost for specs, cost in self.configurations if specs & wanted == specs), self.cost)
            self.known[wanted] = found
        return found

    def ratio(self, before: int, after: int) -> float:
        """Return how many times cheaper it becomes; 0.0 where that is not worth a word."""
        old, new = self.with_indexes(before), self.with_indexes(after)
        least = LEAST_COST_SAVED if self.cost >= LITTLE else LEAST_COST_SAVED_OF_LITTLE
        return old / max(new, NOTHING) if old - new >= least else 0.0

    def is_large(self, before: int, after: int) -> bool:
        """Tell whether it becomes so much cheaper that its part of the workload does not matter."""
        if self.is_rare and self.with_indexes(before) - self.with_indexes(after) < RARE_COST_SAVED:
            return False
        is_strict = self.is_rare or self.cost < LITTLE
        return self.ratio(before, after) >= (LARGE_RATIO_OF_LITTLE if is_strict else LARGE_RATIO)

    def saved(self, chosen: int) -> float:
        return self.weight * (1 - self.with_indexes(chosen) / self.cost) if self.cost else 0.0

    def is_content(self, chosen: int, before: int) -> bool:
        """Tell whether a choice costs no more than another, or hardly more than the best of all."""
        cost = self.with_indexes(chosen)
        return cost <= NEAR * self.best or cost <= self.with_indexes(before)


class Selection:
    """The choice for some shapes.

    Sets of indexes are numbers here, a bit for each index: there are thousands of sets to compare.

    Args:
        prices: Of every index in the shapes' configurations.
    """

    def __init__(
        self, shapes: tuple[ShapeCosts, ...], prices: Mapping[IndexSpec, Price], budget: Budget
    ) -> None:
        self._budget = budget
        found = {spec for shape in shapes for each in shape.configurations for spec in each.specs}
        self._specs = sorted(found, key=_name)
        self._bits = {spec: 1 << place for place, spec in enumerate(self._specs)}
        of_all = [prices.get(spec, Price()) for spec in self._specs]
        self._sizes = {1 << place: price.size_bytes for place, price in enumerate(of_all)}
        self._prices = {1 << place: price.writes for place, price in enumerate(of_all)}
        self._keys = {
            1 << place: len(spec.keys) + len(spec.include) for place, spec in enumerate(self._specs)
        }
        # In one order whatever theirs was, for sums of fractions depend on it.
        self._shapes = [self._shape(each) for each in sorted(shapes, key=lambda each: each.fingerprint)]
        self._touched = {
            bit: [shape for shape in self._shapes if shape.mask & bit] for bit in self._bits.values()
        }
        self._covering = {self._bits[spec]: self._covering_of(spec) for spec in self._specs}
        self._worths: dict[tuple[int, int], tuple[float, float, bool]] = {}

    def chosen(self) -> tuple[IndexSpec, ...]:
        """Return what is proposed, in order of table and keys; the same for the same arguments."""
        chosen = self._grown(0)
        for _ in range(MOST_ROUNDS):
            better = self._grown(self._swapped(chosen))
            if better == chosen:
                break
            chosen = better
        chosen = self._pruned(chosen, chosen)
        return tuple(spec for spec in self._specs if self._bits[spec] & chosen)

    def net(self, chosen: Iterable[IndexSpec]) -> float:
        """Return what a choice saves of the workload, less what its writes cost."""
        return self._net(sum(self._bits[spec] for spec in set(chosen)))

    def _net(self, chosen: int) -> float:
        return sum(shape.saved(chosen) for shape in self._shapes) - self._writes(chosen)

    def _shape(self, shape: ShapeCosts) -> _Shape:
        configurations = tuple(
            (sum(self._bits[spec] for spec in each.specs), each.cost) for each in shape.configurations
        )
        mask = 0
        for specs, _ in configurations:
            mask |= specs
        best = configurations[0][1] if configurations else shape.cost
        return _Shape(shape.weight, shape.cost, best, mask, configurations, shape.is_rare)

    def _covering_of(self, spec: IndexSpec) -> int:
        """Return those that do all that one does."""
        alike = (each for each in self._specs if each.table == spec.table and each != spec)
        return sum(self._bits[each] for each in alike if covers(each, spec))

    def _grown(self, chosen: int) -> int:
        """Return a choice with all more that is worth it, the best first."""
        moves = sorted({specs for shape in self._shapes for specs, _ in shape.configurations})
        while (move := self._best_move(chosen, moves)) is not None:
            # Nothing is added twice: what was taken away again is not needed.
            moves = [each for each in moves if each & ~chosen != move]
            chosen = self._pruned(chosen | move, chosen | move)
        return chosen

    def _best_move(self, chosen: int, moves: Iterable[int]) -> int | None:
        scored = []
        for move in moves:
            added = move & ~chosen
            if not added or not self._is_affordable(chosen | move) or not self._is_worth_it(chosen, added):
                continue
            scored.append((self._worth(chosen, added)[0], added))
        if not scored:
            return None
        _, best = max(scored, key=lambda each: each[0])
        shapes = self._shapes_of(best)
        near = [
            added
            for _, added in scored
            if all(
                shape.with_indexes(chosen | added) <= NEAR * shape.with_indexes(chosen | best)
                for shape in shapes
            )
        ]
        return min(
            near or [best],
            key=lambda added: (
                added.bit_count(),
                self._size(added),
                sum(self._keys[bit] for bit in _bits_of(added)),
                list(_bits_of(added)),
            ),
        )

    def _is_worth_it(self, chosen: int, added: int) -> bool:
        """See Note [What is worth an index]."""
        delta, ratio, is_large = self._worth(chosen, added)
        return delta > NOTHING and ratio >= LEAST_RATIO and (delta >= LEAST_GAIN or is_large)

    def _worth(self, chosen: int, added: int) -> tuple[float, float, bool]:
        """Return what more is saved, how many times cheaper some shape becomes, and whether that is much."""
        shapes = self._shapes_of(added)
        scope = 0
        for shape in shapes:
            scope |= shape.mask
        key = chosen & scope, added
        if key not in self._worths:
            after = chosen | added
            saved = sum(shape.saved(after) - shape.saved(chosen) for shape in shapes)
            self._worths[key] = (
                saved - self._writes(added),
                max((shape.ratio(chosen, after) for shape in shapes), default=0.0),
                any(shape.is_large(chosen, after) for shape in shapes),
            )
        return self._worths[key]

    def _pruned(self, chosen: int, candidates: int) -> int:
        """Leave out of some what others do as well: the beginning of another one, and what nobody misses.

        What a shape costs is measured by its best, not by what it cost before the last one was left out:
        many small steps would be a large one.
        """
        for bit in sorted(_bits_of(candidates & chosen), key=lambda each: (self._sizes[each], each)):
            rest = chosen & ~bit
            is_served = self._covering[bit] & rest
            if is_served or all(shape.is_content(rest, chosen) for shape in self._touched[bit]):
                chosen = rest
        return chosen

    def _swapped(self, chosen: int) -> int:
        """Return the choice with others in the place of some, where that saves more, or needs fewer of them.

        What saves more must make some shape 5 % cheaper; to swap costs nothing, so that is enough.
        """
        for bit in list(_bits_of(chosen)):
            if not bit & chosen:
                continue
            best, best_net = chosen, self._net(chosen)
            for other in self._rivals(bit, chosen):
                swapped = self._with_instead(chosen, bit, other)
                fewer = swapped.bit_count() - best.bit_count()
                if (
                    fewer > 0
                    or not self._is_affordable(swapped)
                    or not self._is_worth_it(chosen & ~bit, other)
                ):
                    continue
                net = self._net(swapped)
                if fewer < 0 and all(shape.is_content(swapped, best) for shape in self._shapes):
                    best, best_net = swapped, max(net, best_net)
                elif net > best_net + NOTHING and any(
                    shape.with_indexes(best) > NEAR * shape.with_indexes(swapped)
                    for shape in self._touched[other]
                ):
                    best, best_net = swapped, net
            chosen = best
        return chosen

    def _rivals(self, bit: int, chosen: int) -> list[int]:
        table = self._specs[bit.bit_length() - 1].table
        return [each for spec, each in self._bits.items() if spec.table == table and not each & chosen]

    def _with_instead(self, chosen: int, bit: int, other: int) -> int:
        """Return a choice with another index for one, without what the other makes needless."""
        near = 0
        for shape in self._touched[other]:
            near |= shape.mask
        covered = sum(each for each in _bits_of(chosen) if self._covering[each] & other)
        return self._pruned(chosen & ~bit | other, near | covered | other)

    def _shapes_of(self, added: int) -> list[_Shape]:
        if added.bit_count() == 1:
            return self._touched[added]
        return [shape for shape in self._shapes if shape.mask & added]

    def _is_affordable(self, chosen: int) -> bool:
        most = self._budget.size_bytes
        return chosen.bit_count() <= self._budget.indexes and (most is None or self._size(chosen) <= most)

    def _size(self, chosen: int) -> int:
        return sum(self._sizes[bit] for bit in _bits_of(chosen))

    def _writes(self, chosen: int) -> float:
        return sum(sorted(self._prices[bit] for bit in _bits_of(chosen)))


def _bits_of(number: int) -> Iterator[int]:
    """Yield the bits of a number, the lowest first."""
    while number:
        bit = number & -number
        yield bit
        number &= ~bit


def _name(spec: IndexSpec) -> tuple[str, str]:
    return spec.table, repr(spec)
