"""The one core of all limits: who may go on, at what rates, and what happens while the server does not answer."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable
from time import perf_counter
from typing import Final, NamedTuple

from asgiref.sync import sync_to_async
from django.core.signals import setting_changed

from perfkit.caching.breaker import Breaker
from perfkit.caching.store import StoreError
from perfkit.conf import options
from perfkit.errors import LimiterUnavailableError, UsageError
from perfkit.limiting.counters import Counter, Plan, current_counter
from perfkit.limiting.rules import MICROSECONDS, NEVER, Standing
from perfkit.rates import Rate, rate_of
from perfkit.signals import limit_applied

logger = logging.getLogger("perfkit.limiting")


def _outage_changed(is_down: bool, problem: str) -> None:
    if is_down:
        outcome = "not limited" if options.RATE_LIMIT_OUTAGE == "open" else "refused"
        logger.warning("The cache server does not answer, so requests are %s: %s", outcome, problem)
    else:
        logger.info("The cache server answers again; requests are limited.")


breaker: Final = Breaker(retry_after_seconds=lambda: options.CACHE_RETRY_AFTER, on_change=_outage_changed)
"""One for all limits of the process, so that an outage is told once."""


class Verdict(NamedTuple):
    """What a limit says of one request.

    Args:
        is_admitted: Whether it may go on.
        rates: Those of the limit.
        standings: How the client stands with each of them.
    """

    is_admitted: bool
    rates: tuple[Rate, ...]
    standings: list[Standing]

    @property
    def tightest(self) -> tuple[Rate, Standing]:
        """The rate that says most about what the client may do next."""
        return min(zip(self.rates, self.standings, strict=True), key=tightness)

    @property
    def retry_after_seconds(self) -> int | None:
        """When the request would be admitted, rounded up; None where it is, or never would be."""
        waits = [standing.retry_us for standing in self.standings if not standing.is_admitted]
        if not waits or NEVER in waits:
            return None
        return max(1, math.ceil(max(waits) / MICROSECONDS))


def tightness(told: tuple[Rate, Standing]) -> tuple[bool, int, int]:
    """Order what rates say: who refuses comes first, the longest wait before others; then who has least left."""
    _, standing = told
    if standing.is_admitted:
        return True, standing.remaining, -standing.refill_us
    return False, -(2**63 if standing.retry_us == NEVER else standing.retry_us), -standing.refill_us


class Limiter:
    """Counts the requests of clients, for code that has no request of Django's at hand; the others build on it.

    Args:
        rates: `"5/hour"`, `"100/minute"`, `"100/minute burst 20"`, or a `Rate`; all of them hold at once.
        scope: What is limited; limiters with the same scope and rates share their counts.
        counter: Returns where to count.
        breaker: Says whether the server is asked.

    Raises:
        RateError: One of the rates is none.
        UsageError: There are none.
    """

    def __init__(
        self,
        *rates: str | Rate,
        scope: str,
        counter: Callable[[], Counter] = current_counter,
        breaker: Breaker = breaker,
    ) -> None:
        if not rates:
            raise UsageError("A limit needs at least one rate.")
        self.rates = tuple(dict.fromkeys(rate_of(rate) if isinstance(rate, str) else rate for rate in rates))
        self.scope = scope
        self._plan = Plan(self.rates)
        self._counter = counter
        self._breaker = breaker

    def take(self, client: str, *, cost: int = 1) -> Verdict | None:
        """Count one request and say whether it may go on; None where limits are off or it costs nothing.

        While the server does not answer, None too where `RATE_LIMIT_OUTAGE` is `"open"`.

        Args:
            client: Who asks.
            cost: As how many requests it counts.

        Raises:
            LimiterUnavailableError: The server does not answer, and the setting is `"closed"`.
            UsageError: The cost is negative.

        Queries: one round trip, whatever the number of rates.
        """
        if cost < 0:
            raise UsageError(f"The cost of a request must not be negative: {cost}.")
        begun = perf_counter() if limit_applied.receivers else 0.0
        if not (options.RATE_LIMIT_ENABLED and cost):
            self._tell(None, begun, reason="free" if options.RATE_LIMIT_ENABLED else "off")
            return None
        counter = self._counter()
        if counter.is_shared and not self._breaker.allows():
            self._tell(None, begun, reason="outage")
            _require_open("it has not answered lately")
            return None
        try:
            standings = counter.take(self._name(client), self._plan, cost=cost)
        except StoreError as error:
            self._breaker.failed(str(error))
            self._tell(None, begun, reason="outage")
            _require_open(str(error))
            return None
        if counter.is_shared:
            self._breaker.succeeded()
        is_admitted = all([standing.is_admitted for standing in standings])  # noqa: C419  # half the time
        verdict = Verdict(is_admitted, self.rates, standings)
        self._tell(verdict, begun)
        return verdict

    async def atake(self, client: str, *, cost: int = 1) -> Verdict | None:
        """Do what `take` does, off the event loop where the server is asked."""
        if not self._counter().is_shared:
            return self.take(client, cost=cost)
        return await sync_to_async(self.take, thread_sensitive=False)(client, cost=cost)

    def _tell(self, verdict: Verdict | None, begun: float, *, reason: str = "") -> None:
        if begun:
            seconds = perf_counter() - begun
            limit_applied.send(
                type(self),
                scope=self.scope,
                rates=self.rates,
                verdict=verdict,
                reason=reason,
                seconds=seconds,
            )

    def _name(self, client: str) -> str:
        """Return what the server knows a client by: it may be a secret key, and of any length."""
        text = f"{self.scope}\n{client}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=16).hexdigest()


def _require_open(problem: str) -> None:
    """Raise what a request gets that cannot be counted, unless it may go on.

    Raises:
        LimiterUnavailableError: The setting is `"closed"`.
    """
    if options.RATE_LIMIT_OUTAGE == "closed":
        raise LimiterUnavailableError(problem)


def _settings_changed(*, setting: str, **_: object) -> None:
    if setting in {"CACHES", "PERFKIT"}:
        breaker.succeeded()  # another server: nothing is known of it yet


setting_changed.connect(_settings_changed, dispatch_uid="perfkit.limiting")
