"""Rates: how many requests in how long a time, and how they are written. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from perfkit.errors import RateError

UNITS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_FORM: Final = re.compile(
    r"\s*(?P<limit>\d{1,12})\s*/\s*(?P<times>\d{1,12})?\s*"
    r"(?P<unit>s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)"
    r"(?:\s+burst\s+(?P<burst>\d{1,12}))?\s*",
    re.ASCII | re.IGNORECASE,
)

MOST: Final = 1_000_000_000
"""Requests in one period."""

LONGEST_SECONDS: Final = 366 * 86_400
"""Microseconds since 1970 and of a period together stay exact in the numbers that Lua has."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How many requests are admitted in how long a time.

    Without a burst, never more than `limit` in any `period_seconds`, whenever they come.
    With one, at most `burst` at once and then one after the other in even steps: `limit` in each period in the
    long run, and in a single period up to `limit + burst`.

    Args:
        limit: Requests, from 1 to a thousand million.
        period_seconds: From 1 to a year.
        burst: From 1 to `limit`.

    Raises:
        RateError: One of them is out of range.
    """

    limit: int
    period_seconds: int
    burst: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MOST:
            raise RateError(str(self), f"the number of requests must be from 1 to {MOST:,}")
        if not 1 <= self.period_seconds <= LONGEST_SECONDS:
            raise RateError(str(self), "the time must be from a second to a year")
        if self.burst is not None and not 1 <= self.burst <= self.limit:
            raise RateError(str(self), "the burst must be from 1 to the number of requests")

    def __str__(self) -> str:
        """Return it as it is written, with the longest unit that fits."""
        unit, seconds = next(
            (name, seconds)
            for name, seconds in reversed(UNITS.items())
            if self.period_seconds % seconds == 0 or seconds == 1
        )
        times = self.period_seconds // seconds
        period = unit if times == 1 else f"{times}{unit[0]}"
        burst = "" if self.burst is None else f" burst {self.burst}"
        return f"{self.limit}/{period}{burst}"


@lru_cache(maxsize=1000)
def rate_of(text: str) -> Rate:
    """Return the rate that a text means: `5/hour`, `100/minute`, `10/30s`, `100/minute burst 20`.

    Units are seconds, minutes, hours and days, by their names, shorter ones (`min`) or first letters.

    Raises:
        RateError: It means none.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise RateError(text, "write it as '5/hour', '10/30s' or '100/minute burst 20'")
    name = found["unit"].lower()
    seconds = next(seconds for unit, seconds in UNITS.items() if unit.startswith(name[0]))
    burst = found["burst"]
    try:
        return Rate(
            int(found["limit"]), int(found["times"] or 1) * seconds, None if burst is None else int(burst)
        )
    except RateError as error:
        raise RateError(text, error.problem) from error
