"""Single flight: of many that miss the same slow answer together, one computes it and the others wait.

The lease costs a round trip or two, so it is taken only for what is slow, or not known yet to be quick.
Its name holds the tokens: what a write has made pointless keeps nobody waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from typing import Final

SLOW_SECONDS: Final = 0.01
"""Answers that take less are computed by everybody who misses them: waiting would not be quicker."""

LEAST_LEASE_SECONDS: Final = 0.2
UNKNOWN_LEASE_SECONDS: Final = 2.0
MOST_LEASE_SECONDS: Final = 30.0
LEASE_TIMES: Final = 3
"""How many times the usual duration a lease lasts; who holds it longer may be dead."""

MOST_FAMILIES: Final = 10_000
WEIGHT: Final = 0.3
"""Of the newest duration in the average."""


class Durations:
    """How long answers of each family have taken to compute, in this process.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds: dict[Hashable, float] = {}
        self._unkept: set[Hashable] = set()

    def needs_flight(self, family: Hashable) -> bool:
        """Say whether answers of this family are slow, or not known, and can be kept for those who wait."""
        return family not in self._unkept and self._seconds.get(family, SLOW_SECONDS) >= SLOW_SECONDS

    def lease_seconds(self, family: Hashable) -> float:
        """Return how long one that computes such an answer may be waited for."""
        usual = self._seconds.get(family)
        if usual is None:
            return UNKNOWN_LEASE_SECONDS
        return min(max(LEASE_TIMES * usual, LEAST_LEASE_SECONDS), MOST_LEASE_SECONDS)

    def was_not_kept(self, family: Hashable) -> None:
        """Note that an answer could not be kept, so that nobody waits for one like it."""
        if len(self._unkept) >= MOST_FAMILIES:
            self._unkept.clear()
        self._unkept.add(family)

    def took(self, family: Hashable, seconds: float) -> None:
        """Note a duration."""
        usual = self._seconds.get(family)
        if usual is None and len(self._seconds) >= MOST_FAMILIES:
            self._seconds.clear()
        self._seconds[family] = seconds if usual is None else usual + WEIGHT * (seconds - usual)


durations: Final = Durations()


def pauses(seconds: float) -> Iterator[None]:
    """Sleep before each next look, a little longer each time, until `seconds` are over."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, 0.05)
        yield
