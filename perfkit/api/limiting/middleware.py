"""The limit of a whole site."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from perfkit.api.limiting.identity import Kind
from perfkit.api.limiting.requests import RequestLimit, outage, refusal, with_fields
from perfkit.caching.responses.middleware import is_chosen
from perfkit.conf import options
from perfkit.errors import LimiterUnavailableError

Handler = Callable[[HttpRequest], HttpResponseBase]
AsyncHandler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

SITE: Final = "site"


class RateLimitMiddleware:
    """Limits all requests of a client together, at the rates of the `RATE_LIMIT_…` options.

    It also tells of the limits of views, and of ninja's throttles, in the header fields of all answers.
    Put it first in `MIDDLEWARE`, after what answers preflight requests of browsers; with `RATE_LIMIT_BY`
    `"user"` it must stand after Django's `AuthenticationMiddleware`, and reads the session and the user.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Handler | AsyncHandler) -> None:
        self._get_response = get_response
        self._limit = RequestLimit(scope=SITE, by="address")
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Return the answer, or a refusal."""
        if self._is_async:
            return self._arespond(request)
        handle = cast("Handler", self._get_response)
        try:
            verdict = self._limit.check(request, by=_by()) if _is_limited(request) else None
        except LimiterUnavailableError:
            return with_fields(outage(), request)
        is_refused = verdict is not None and not verdict.is_admitted
        return with_fields(refusal() if is_refused else handle(request), request)

    async def _arespond(self, request: HttpRequest) -> HttpResponseBase:
        handle = cast("AsyncHandler", self._get_response)
        try:
            verdict = await self._limit.acheck(request, by=_by()) if _is_limited(request) else None
        except LimiterUnavailableError:
            return with_fields(outage(), request)
        is_refused = verdict is not None and not verdict.is_admitted
        return with_fields(refusal() if is_refused else await handle(request), request)


def _is_limited(request: HttpRequest) -> bool:
    return is_chosen(request.path_info, (), options.RATE_LIMIT_EXEMPT)


def _by() -> Kind:
    return "user" if options.RATE_LIMIT_BY == "user" else "address"
