"""Rate limits of the API: ninja throttles whose rate is read live from the settings."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from django.core.cache import caches
from django.http import HttpRequest
from ninja.conf import settings as ninja_settings
from ninja.throttling import BaseThrottle, SimpleRateThrottle

from perfkit.caching.breaker import Breaker
from perfkit.conf import options

logger = logging.getLogger("perfkit.api")


def default_throttles() -> list[BaseThrottle]:
    """Return the throttles for `NinjaAPI(throttle=…)`, governed by the `RATE_LIMIT_…` options."""
    return [PerMinuteThrottle()]


class PerMinuteThrottle(BaseThrottle):
    """Allows each client `RATE_LIMIT_PER_MINUTE` requests in any minute; the rest is a 429 with Retry-After.

    A client is the user where the view authenticates one, else the address (see `client_address`).
    ninja authenticates before it throttles, so a refused login is not counted.

    The count is ninja's own: a list of times that is read, extended and written back.
    It is kept in Django's cache, so it is per cache (an in-process cache counts in each process for itself),
    and it is approximate: requests at the same moment overwrite each other's entries, so more get through.

    While the cache does not answer, every request is allowed: a limit is no reason to be down.
    The first failure is logged, then the cache is left alone for `CACHE_RETRY_AFTER` seconds at a time.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._breaker = Breaker(
            retry_after_seconds=lambda: options.CACHE_RETRY_AFTER, on_change=_log_outage, clock=clock
        )
        self._window: ContextVar[_Window | None] = ContextVar("perfkit_throttle_window", default=None)

    def allow_request(self, request: HttpRequest) -> bool:
        """Count the request and say whether it may go on."""
        self._window.set(None)
        if not options.RATE_LIMIT_ENABLED or not self._breaker.allows():
            return True
        window = _Window(f"{options.RATE_LIMIT_PER_MINUTE}/min", caches[options.CACHE_ALIAS])
        try:
            is_allowed = window.allow_request(request)
        except Exception as error:  # noqa: BLE001  # each cache back end has its own; the limiter fails open
            self._breaker.failed(f"{type(error).__name__}: {error}")
            return True
        self._breaker.succeeded()
        self._window.set(window)
        return is_allowed

    def wait(self) -> float | None:
        """Return the seconds until this client may try again, for Retry-After."""
        window = self._window.get()
        return window.wait() if window else None


def _log_outage(is_down: bool, problem: str) -> None:
    if is_down:
        logger.warning("The cache does not answer, so requests are not limited: %s", problem)
    else:
        logger.info("The cache answers again; requests are limited.")


class _Window(SimpleRateThrottle):
    """ninja's count of one client, made for one request because it keeps its state on itself."""

    def __init__(self, rate: str, cache: Any) -> None:
        super().__init__(rate)
        self.cache = cache

    def get_cache_key(self, request: HttpRequest) -> str:
        digest = hashlib.sha256(client(request).encode()).hexdigest()
        return f"{options.CACHE_KEY_PREFIX}:throttle:{digest}"


def client(request: HttpRequest) -> str:
    """Return who sends the request, as far as a limit is concerned; costs no query.

    `request.user` is not looked at: it would load a session and a user on views that need neither.
    """
    auth = getattr(request, "auth", None)
    if auth is None:
        return f"address {client_address(request)}"
    return f"user {getattr(auth, 'pk', auth)}"


def client_address(request: HttpRequest) -> str:
    """Return the address the request comes from.

    `X-Forwarded-For` is what the client says it is, so it is read only where `NINJA_NUM_PROXIES` says
    how many proxies of the project add to it; then the entry counts that the outermost of them wrote.
    Without that setting it is the peer's address (ninja itself would take the whole header).
    Behind a proxy that is not declared, all clients share one limit.
    """
    peer = str(request.META.get("REMOTE_ADDR", ""))
    proxies = ninja_settings.NUM_PROXIES
    forwarded = str(request.META.get("HTTP_X_FORWARDED_FOR", ""))
    if not proxies or not forwarded:
        return peer
    hops = [hop.strip() for hop in forwarded.split(",")]
    return hops[-min(proxies, len(hops))]
