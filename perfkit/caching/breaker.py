"""A circuit breaker: after a failure the cache is left alone, then tried again by one caller."""

from __future__ import annotations

import time
from collections.abc import Callable

from perfkit.caching.locks import fork_safe_lock


class Breaker:
    """Closed while the cache answers; open for a time after it did not.

    Attributes:
        is_open: Whether the last thing known of the cache is that it failed.

    Args:
        retry_after_seconds: How long it stays open before one caller may try.
        on_change: Told once when it opens (with the problem) and once when it closes (with an empty text).
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        *,
        retry_after_seconds: Callable[[], float],
        on_change: Callable[[bool, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = fork_safe_lock()
        self.is_open = False
        self._next_try = 0.0
        self._retry_after_seconds = retry_after_seconds
        self._on_change = on_change
        self._clock = clock

    @property
    def rests(self) -> bool:
        """Whether nobody is to ask the cache at this moment."""
        return self.is_open and self._clock() < self._next_try

    def allows(self) -> bool:
        """Say whether the caller may ask the cache; while open, one caller per period may."""
        if not self.is_open:
            return True
        with self._lock:
            now = self._clock()
            if now < self._next_try:
                return False
            self._next_try = now + self._retry_after_seconds()
            return True

    def failed(self, problem: str) -> None:
        """Open, for the cache did not answer."""
        with self._lock:
            was_open, self.is_open = self.is_open, True
            self._next_try = self._clock() + self._retry_after_seconds()
        if not was_open:
            self._on_change(True, problem)

    def succeeded(self) -> None:
        """Close, for the cache answered."""
        if not self.is_open:
            return
        with self._lock:
            was_open, self.is_open = self.is_open, False
        if was_open:
            self._on_change(False, "")
