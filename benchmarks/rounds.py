"""Fair turns: every contender once per round, in a new order each round, and the median of each."""

from __future__ import annotations

import random
import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

TURN_SECONDS: Final = 0.02


class Player(Protocol):
    """Whoever takes turns."""

    def take_turn(self) -> object:
        """Do the job once and keep how long it took."""


@dataclass
class Contender:
    """One way to do the job.

    Attributes:
        run: Does the job once; returns how many units it did.
        prepare: Runs before each turn, outside the time.
        rates: Units a second, one per turn.
        peak_bytes: Most memory that Python took during the job, beyond what it had before.
    """

    name: str
    run: Callable[[], int]
    prepare: Callable[[], object]
    rates: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    @property
    def rate(self) -> float:
        """The median rate."""
        return statistics.median(self.rates)

    def take_turn(self) -> None:
        """Do the job once and keep its rate."""
        self.prepare()
        started = time.perf_counter()
        done = self.run()
        self.rates.append(done / (time.perf_counter() - started))

    def weigh(self) -> None:
        """Do the job once more, slowly, and keep its peak of memory."""
        self.prepare()
        tracemalloc.start()
        self.run()
        _, self.peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()


def warm(job: Callable[[], object]) -> Callable[[], int]:
    """Return what does a short job again and again for `TURN_SECONDS`, at least once.

    A job that is done once, after somebody else's, takes the time in which the processor finds its way back.
    """

    def run() -> int:
        done, end = 0, time.perf_counter() + TURN_SECONDS
        while not done or time.perf_counter() < end:
            job()
            done += 1
        return done

    return run


def play(contenders: Sequence[Player], *, rounds: int, budget_seconds: float, seed: int = 2013) -> int:
    """Let all contenders take turns; return how many rounds were played.

    Args:
        rounds: At most so many, at least one.
        budget_seconds: No round begins that would probably end after so long.
    """
    order = list(contenders)
    dice = random.Random(seed)
    started = time.perf_counter()
    played = 0
    while played < rounds and (time.perf_counter() - started) * (played + 1) <= budget_seconds * max(
        played, 1
    ):
        dice.shuffle(order)
        for contender in order:
            contender.take_turn()
        played += 1
    return played
