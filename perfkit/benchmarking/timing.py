"""Fair turns: every way once per round, in a new order each round. Pure, but for the clock."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

TURN_SECONDS: Final = 0.02
LEAST_FOR_P95: Final = 20
"""Of fewer samples the slowest twentieth is none."""

Clock = Callable[[], float]


@dataclass
class Way:
    """One way to do some work.

    Attributes:
        name: What it is called.
        run: Does it once.
        prepare: Runs before each turn, outside the time; None where a turn may do the work again and again.
        turns_ms: How long the work took, in each turn the mean of it.
    """

    name: str
    run: Callable[[], Any]
    prepare: Callable[[], Any] | None = None
    turns_ms: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        """The middle of the turns."""
        return statistics.median(self.turns_ms)

    def take_turn(self, clock: Clock) -> None:
        """Do the work, once where it must be prepared, else for `TURN_SECONDS` and at least once.

        What is done once, after somebody else's work, takes the time in which the processor finds its way back.
        """
        if self.prepare is not None:
            self.prepare()
        done, begun = 0, clock()
        while True:
            self.run()
            done += 1
            elapsed = clock() - begun
            if self.prepare is not None or elapsed >= TURN_SECONDS:
                break
        self.turns_ms.append(elapsed / done * 1000)


def take_turns(
    ways: Sequence[Way],
    *,
    rounds: int,
    budget_seconds: float,
    clock: Clock = time.perf_counter,
    seed: int = 2013,
) -> int:
    """Let all ways take turns; return how many rounds were played, of which the first was not counted.

    Args:
        rounds: That are counted, at least one.
        budget_seconds: No round begins that would probably end after so long, but for the first that counts.
    """
    order, dice, begun = list(ways), random.Random(seed), clock()  # noqa: S311  # no secret
    for played in range(rounds + 1):
        if played > 1 and (clock() - begun) * (played + 1) > budget_seconds * played:
            return played
        dice.shuffle(order)
        for way in order:
            way.take_turn(clock)
        if not played:
            for way in ways:
                way.turns_ms.clear()
    return rounds + 1


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that is at least as large as that share of them.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("Of no values there is no quantile.")
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1_000_000) * len(ordered) // 1_000_000) - 1)]


def p95(values: Sequence[float]) -> float | None:
    """Return what 95 of 100 do not exceed, None where there are too few to say."""
    return quantile(values, 0.95) if len(values) >= LEAST_FOR_P95 else None
