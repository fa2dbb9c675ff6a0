"""When a call that has failed is tried again. Pure."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from perfkit.errors import ModelUnavailableError
from perfkit.inference.protocol import is_passing_status

UNREACHABLE: Final = "cannot be reached"
"""The problem of a call that has not come to the server at all."""


@dataclass(frozen=True, slots=True)
class CallRetries:
    """How often a call is tried again that was answered with a 429 or a 5xx, or could not be connected.

    What the server says in `Retry-After` is waited for, and where it says more than `longest_seconds` nothing is.
    Without that the pauses double, each of them shortened by lot by up to a half.

    Args:
        attempts: All of them, the first included.
        backoff_seconds: The first pause.
        longest_seconds: The longest pause.
    """

    attempts: int = 3
    backoff_seconds: float = 0.5
    longest_seconds: float = 30.0
    chance: Callable[[], float] = random.random

    def pause_seconds(self, error: ModelUnavailableError, *, failures: int) -> float | None:
        """Return how long to wait before the next attempt; None where there is to be none.

        Args:
            failures: Attempts that have failed, this one included.
        """
        if failures >= self.attempts or not is_passing(error):
            return None
        told = error.retry_after_seconds
        if told is not None:
            return None if told > self.longest_seconds else told
        pause = min(self.backoff_seconds * 2.0 ** (failures - 1), self.longest_seconds)
        return pause * (1 - self.chance() / 2)


def is_passing(error: ModelUnavailableError) -> bool:
    """Say whether the server has done nothing for a call, and may do it later."""
    if error.status is None:
        return error.problem == UNREACHABLE
    return is_passing_status(error.status)


def retry_after_seconds(text: str | None, *, now: dt.datetime) -> float | None:
    """Return what a header `Retry-After` says, in seconds or as a date; None where it says nothing of either.

    Source:
        RFC 9110, section 10.2.3.
    """
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        return max(0.0, (moment - now).total_seconds())
    except (ValueError, OverflowError):
        return None
