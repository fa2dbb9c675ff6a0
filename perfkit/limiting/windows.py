"""The rule of a rate without a burst: a log, so never more than the limit in any period. Pure.

# Note [Steps of a window]
A log with an entry for each request would hold as many as the limit.
So time is cut into steps, and what comes in one step is one entry, which counts until the step's last microsecond
is a period ago: never too early, and at most a step too late.
Up to `MOST_ENTRIES` requests a period, a step is a microsecond, and nothing is late.
"""

from __future__ import annotations

from itertools import dropwhile
from typing import ClassVar, Final

from perfkit.limiting.rules import MICROSECONDS, NEVER, Rule
from perfkit.rates import Rate

MOST_ENTRIES: Final = 128

Log = tuple[tuple[int, int], ...]
"""When each step ends in which requests were admitted, and what they cost together; the oldest first."""


class Window(Rule[Log]):
    """Counts what was admitted within the last period. See Note [Steps of a window]."""

    letter: ClassVar[str] = "w"

    def __init__(self, rate: Rate) -> None:
        super().__init__(rate)
        self._period_us = rate.period_seconds * MICROSECONDS
        self._step_us = 1 if rate.limit <= MOST_ENTRIES else -(-self._period_us // MOST_ENTRIES)

    @property
    def numbers(self) -> tuple[int, int, int]:
        """The limit, the period and the step."""
        return self.rate.limit, self._period_us, self._step_us

    def settled(self, state: Log | None, now_us: int) -> tuple[Log, int]:
        """Return the entries within the last period; none where the newest is further ahead than a period."""
        if not state:
            return (), now_us
        newest_us = state[-1][0] - self._step_us + 1
        if newest_us > now_us + self._period_us:
            return (), now_us
        now_us = max(now_us, newest_us)
        return tuple(dropwhile(lambda entry: entry[0] + self._period_us <= now_us, state)), now_us

    def admits(self, state: Log, cost: int, now_us: int) -> bool:
        """Say whether the period has room for it."""
        return _used(state) + cost <= self.rate.limit

    def charged(self, state: Log, cost: int, now_us: int) -> Log:
        """Return the log with the request in the entry of its step."""
        end_us = now_us - now_us % self._step_us + self._step_us - 1
        if state and state[-1][0] == end_us:
            return *state[:-1], (end_us, state[-1][1] + cost)
        return *state, (end_us, cost)

    def remaining(self, state: Log, now_us: int) -> int:
        """Return what is left of the period."""
        return self.rate.limit - _used(state)

    def refill_us(self, state: Log, now_us: int) -> int:
        """Return when the oldest entry is a period old."""
        return state[0][0] + self._period_us - now_us if state else 0

    def retry_us(self, state: Log, cost: int, now_us: int) -> int:
        """Return when as many entries are a period old as there must be."""
        missing = _used(state) + cost - self.rate.limit
        for end_us, count in state:
            missing -= count
            if missing <= 0:
                return end_us + self._period_us - now_us
        return NEVER

    def end_us(self, state: Log, now_us: int) -> int:
        """Return when the newest entry is a period old."""
        return state[-1][0] + self._period_us if state else now_us


def _used(state: Log) -> int:
    return sum([count for _, count in state])
