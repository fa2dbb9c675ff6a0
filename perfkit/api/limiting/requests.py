"""A limit of requests: who sends one, what it costs, and what all limits have said of it so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Final, TypeVar

from django.http import HttpRequest, HttpResponseBase, JsonResponse

from perfkit.api.limiting.fields import fields_of
from perfkit.api.limiting.identity import By, aclient_of, checked, client_of
from perfkit.conf import options
from perfkit.errors import LimiterUnavailableError
from perfkit.limiting.limiter import Limiter, Verdict
from perfkit.limiting.rules import Standing
from perfkit.postgres.outages import UNAVAILABLE
from perfkit.rates import Rate

Response = TypeVar("Response", bound=HttpResponseBase)

Cost = int | Callable[[HttpRequest], int]

TOO_MANY: Final = "Too many requests."
_NOTES: Final = "_perfkit_limits"


class Notes:
    """What limits have said of one request.

    Attributes:
        told: How the client stands with each rate.
        is_in_ninja: Whether an operation of ninja's makes the answer, and puts the fields on it.
        retry_after_seconds: When to try again, where the request was refused and that is known.
    """

    __slots__ = ("is_in_ninja", "retry_after_seconds", "told")

    def __init__(self) -> None:
        self.told: list[tuple[Rate, Standing]] = []
        self.is_in_ninja = False
        self.retry_after_seconds: int | None = None

    def add(self, verdict: Verdict) -> None:
        """Note a verdict."""
        self.told += zip(verdict.rates, verdict.standings, strict=True)
        wait = verdict.retry_after_seconds
        if wait is not None:
            self.retry_after_seconds = max(wait, self.retry_after_seconds or 0)


def notes_of(request: HttpRequest) -> Notes:
    """Return what limits have noted of a request; it keeps them."""
    notes: Notes = vars(request).setdefault(_NOTES, Notes())
    return notes


def with_fields(response: Response, request: HttpRequest) -> Response:
    """Put the fields that tell of all limits onto a response, and return it."""
    notes = notes_of(request)
    if notes.told:
        for name, value in fields_of(notes.told).items():
            response.headers[name] = value
    if notes.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(notes.retry_after_seconds)
    return response


def refusal() -> JsonResponse:
    """Return a 429; `with_fields` adds when to try again."""
    return JsonResponse({"detail": TOO_MANY}, status=429)


def outage() -> JsonResponse:
    """Return a 503; `with_fields` adds when to try again."""
    return JsonResponse({"detail": UNAVAILABLE}, status=503)


@lru_cache(maxsize=100)
def _limiter(rates: tuple[str, ...], scope: str) -> Limiter:
    return Limiter(*rates, scope=scope)


class RequestLimit:
    """A limit as decorators, throttles and the middleware apply it.

    Args:
        rates: As of a `Limiter`; those of the settings where there are none, read at each request.
        scope: As of a `Limiter`.
        by: What clients are told apart by.
        cost: As how many requests one counts; 0 for one that does not count.
        methods: Those that count; all where None.

    Raises:
        RateError: One of the rates is none.
        UsageError: `by` is nothing that clients can be told apart by.
    """

    def __init__(
        self,
        *rates: str | Rate,
        scope: str,
        by: By,
        cost: Cost = 1,
        methods: Collection[str] | None = None,
    ) -> None:
        self._limiter = Limiter(*rates, scope=scope) if rates else None
        self._scope = scope
        self._by = checked(by)
        self._cost = cost
        self._methods = None if methods is None else frozenset(map(str.upper, methods))

    def check(self, request: HttpRequest, *, by: By | None = None) -> Verdict | None:
        """Count a request, note what the limit says of it, and return that; None where it is not limited.

        Args:
            by: In the place of the limit's own.

        Raises:
            LimiterUnavailableError: The server does not answer, and the setting is `"closed"`.
        """
        if not self._applies(request):
            return None
        client = client_of(request, by or self._by)
        if client is None:
            return None
        try:
            return _noted(request, self._current().take(client, cost=self._cost_of(request)))
        except LimiterUnavailableError:
            _note_outage(request)
            raise

    async def acheck(self, request: HttpRequest, *, by: By | None = None) -> Verdict | None:
        """Do what `check` does, off the event loop where anybody is asked."""
        if not self._applies(request):
            return None
        client = await aclient_of(request, by or self._by)
        if client is None:
            return None
        try:
            return _noted(request, await self._current().atake(client, cost=self._cost_of(request)))
        except LimiterUnavailableError:
            _note_outage(request)
            raise

    def _applies(self, request: HttpRequest) -> bool:
        return options.RATE_LIMIT_ENABLED and (self._methods is None or request.method in self._methods)

    def _cost_of(self, request: HttpRequest) -> int:
        return self._cost(request) if callable(self._cost) else self._cost

    def _current(self) -> Limiter:
        if self._limiter is not None:
            return self._limiter
        rates = options.RATE_LIMIT_RATES or (f"{options.RATE_LIMIT_PER_MINUTE}/minute",)
        return _limiter(rates, self._scope)


def _noted(request: HttpRequest, verdict: Verdict | None) -> Verdict | None:
    if verdict is not None:
        notes_of(request).add(verdict)
    return verdict


def _note_outage(request: HttpRequest) -> None:
    notes_of(request).retry_after_seconds = math.ceil(options.CACHE_RETRY_AFTER)
