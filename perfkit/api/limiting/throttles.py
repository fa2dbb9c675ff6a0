"""Limits as throttles of ninja's: for an API, a router or an operation."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from django.http import HttpRequest
from ninja.throttling import BaseThrottle

from perfkit.api.limiting.identity import By
from perfkit.api.limiting.requests import Cost, RequestLimit, notes_of
from perfkit.errors import LimiterUnavailableError, UsageError
from perfkit.rates import Rate

API: Final = "api"


def default_throttles() -> list[BaseThrottle]:
    """Return the throttles for `NinjaAPI(throttle=…)`, governed by the `RATE_LIMIT_…` options."""
    return [PerMinuteThrottle()]


class RateLimitThrottle(BaseThrottle):
    """Limits operations of ninja's at exact rates; a request beyond them is a 429 with Retry-After.

    ninja authenticates before it throttles, so a refused login is not counted.
    Its async operations wait for throttles on the event loop: one round trip to the cache server, and at most
    `CACHE_TIMEOUT` where that does not answer.
    What is left is told in header fields where `add_error_handlers` was called for the API, or where
    `RateLimitMiddleware` is in use; there an outage under `RATE_LIMIT_OUTAGE` `"closed"` is a 503, else a 429.

    Args:
        rates: As of `rate_limit`.
        by: As of `rate_limit`; in async operations `"user"` cannot ask the session.
        cost: As of `rate_limit`.
        scope: Throttles with the same scope and rates share their counts.

    Raises:
        RateError: One of the rates is none.
        UsageError: There are no rates, or `by` is nothing that clients can be told apart by.
    """

    def __init__(self, *rates: str | Rate, by: By = "key", cost: Cost = 1, scope: str = API) -> None:
        if not rates:
            raise UsageError("RateLimitThrottle() needs at least one rate.")
        self._limit_by(RequestLimit(*rates, scope=scope, by=by, cost=cost))

    def _limit_by(self, limit: RequestLimit) -> None:
        self._limit = limit
        self._wait: ContextVar[float | None] = ContextVar("perfkit_throttle_wait", default=None)

    def allow_request(self, request: HttpRequest) -> bool:
        """Count the request and say whether it may go on."""
        self._wait.set(None)
        try:
            verdict = self._limit.check(request)
        except LimiterUnavailableError:
            notes = notes_of(request)
            if notes.is_in_ninja:
                raise
            self._wait.set(notes.retry_after_seconds)
            return False
        if verdict is None or verdict.is_admitted:
            return True
        self._wait.set(verdict.retry_after_seconds)
        return False

    def wait(self) -> float | None:
        """Return the seconds until this client may try again, for Retry-After."""
        return self._wait.get()


class PerMinuteThrottle(RateLimitThrottle):
    """Admits `RATE_LIMIT_PER_MINUTE` requests of each client in any minute, or `RATE_LIMIT_RATES`.

    A client is whom the operation has authenticated, else an address (see `RATE_LIMIT_PROXIES`).
    """

    def __init__(self) -> None:
        self._limit_by(RequestLimit(scope=API, by="key"))
