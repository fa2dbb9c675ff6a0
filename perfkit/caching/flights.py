"""Single flight: of many that miss the same slow answer together, one computes it and the others wait.

The lease costs a round trip or two, so it is taken only for what is slow, or not known yet to be quick.
Its name holds the tokens: what a write has made pointless keeps nobody waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from typing import Final

from perfkit.caching.values import UnstorableError

SLOW_SECONDS: Final = 0.01
"""Answers that take less are computed by everybody who misses them: waiting would not be quicker."""

LEAST_LEASE_SECONDS: Final = 0.2
UNKNOWN_LEASE_SECONDS: Final = 2.0
MOST_LEASE_SECONDS: Final = 30.0
LEASE_TIMES: Final = 3
"""How many times the usual duration a lease lasts; who holds it longer may be dead."""

REFUSED_SECONDS: Final = 60.0
"""An answer that cannot be kept is not tried again for so long; it may be smaller then."""

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
        self._refused: dict[str, tuple[UnstorableError, float]] = {}

    def needs_flight(self, family: Hashable) -> bool:
        """Say whether answers of this family are slow, or not known."""
        return self._seconds.get(family, SLOW_SECONDS) >= SLOW_SECONDS

    def lease_seconds(self, family: Hashable) -> float:
        """Return how long one that computes such an answer may be waited for."""
        usual = self._seconds.get(family)
        if usual is None:
            return UNKNOWN_LEASE_SECONDS
        return min(max(LEASE_TIMES * usual, LEAST_LEASE_SECONDS), MOST_LEASE_SECONDS)

    def usual_seconds(self, family: Hashable) -> float | None:
        """Return how long such an answer takes to compute; None where that is not known."""
        return self._seconds.get(family)

    def cannot_keep(self, key: str, problem: UnstorableError) -> None:
        """Note that the answer under `key` cannot be kept, so that nobody waits for it or packs it in vain."""
        if len(self._refused) >= MOST_FAMILIES:
            self._refused.clear()
        self._refused[key] = (problem, self._clock() + REFUSED_SECONDS)

    def require_keepable(self, key: str) -> None:
        """Raise what was told of `key` lately, if anything was.

        Raises:
            UnstorableError: Its answer could not be kept.
        """
        refused = self._refused.get(key)
        if refused is None:
            return
        problem, until = refused
        if self._clock() < until:
            raise UnstorableError(problem.reason)
        self._refused.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._seconds.clear()
        self._refused.clear()

    def took(self, family: Hashable, seconds: float) -> None:
        """Note a duration."""
        usual = self._seconds.get(family)
        if usual is None and len(self._seconds) >= MOST_FAMILIES:
            self._seconds.clear()
        self._seconds[family] = seconds if usual is None else usual + WEIGHT * (seconds - usual)


durations: Final = Durations()


def waits(seconds: float) -> Iterator[float]:
    """Yield how long to wait before each next look, a little longer each time, until `seconds` are over."""
    deadline = time.monotonic() + seconds
    wait = 0.002
    while (left := deadline - time.monotonic()) > 0:
        yield min(wait, left)
        wait = min(wait * 1.5, 0.05)


def pauses(seconds: float) -> Iterator[None]:
    """Sleep before each next look, until `seconds` are over."""
    for wait in waits(seconds):
        time.sleep(wait)
        yield
