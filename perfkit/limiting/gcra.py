"""The rule of a rate with a burst: GCRA, which knows of a client one number. Pure.

Source: ITU-T Recommendation I.371, annex A, the virtual scheduling algorithm.
"""

from __future__ import annotations

from typing import ClassVar

from perfkit.limiting.rules import MICROSECONDS, NEVER, Rule
from perfkit.rates import Rate


class Gcra(Rule[int]):
    """Admits a burst, then requests at even intervals.

    What is known is the time at which everything admitted would have arrived, had it come at those intervals.
    An interval is rounded up to a microsecond.
    """

    letter: ClassVar[str] = "g"

    def __init__(self, rate: Rate) -> None:
        super().__init__(rate)
        self._burst = rate.burst or rate.limit
        self._interval_us = -(-rate.period_seconds * MICROSECONDS // rate.limit)
        self._tolerance_us = self._burst * self._interval_us

    @property
    def numbers(self) -> tuple[int, int, int]:
        """The burst, the interval, and how far ahead the known time may be."""
        return self._burst, self._interval_us, self._tolerance_us

    def settled(self, state: int | None, now_us: int) -> tuple[int, int]:
        """Return the known time, or now where that is past, or twice as far ahead as it can be."""
        if state is None or state > now_us + 2 * self._tolerance_us:
            return now_us, now_us
        return max(state, now_us), now_us

    def admits(self, state: int, cost: int, now_us: int) -> bool:
        """Say whether the known time would stay within the burst."""
        return state + cost * self._interval_us <= now_us + self._tolerance_us

    def charged(self, state: int, cost: int, now_us: int) -> int:
        """Return the known time, as many intervals later as the request costs."""
        return state + cost * self._interval_us

    def remaining(self, state: int, now_us: int) -> int:
        """Return how many intervals there are up to the burst."""
        return max(0, (now_us + self._tolerance_us - state) // self._interval_us)

    def refill_us(self, state: int, now_us: int) -> int:
        """Return when the next interval is over."""
        if state == now_us:
            return 0
        return state - now_us - (self._burst - self.remaining(state, now_us) - 1) * self._interval_us

    def retry_us(self, state: int, cost: int, now_us: int) -> int:
        """Return when the known time would be within the burst."""
        if cost > self._burst:
            return NEVER
        return state + cost * self._interval_us - now_us - self._tolerance_us

    def end_us(self, state: int, now_us: int) -> int:
        """Return the known time itself."""
        return state
