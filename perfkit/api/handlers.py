"""Turns perfkit's errors, and a database that cannot be reached, into answers of the API."""

from __future__ import annotations

import logging
import math
from typing import Any

from django.db import DatabaseError, OperationalError
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI

from perfkit.api.limiting.operations import AsyncRun, Run, limited_run
from perfkit.conf import options
from perfkit.errors import LimiterUnavailableError, RequestError, UnavailableError
from perfkit.postgres.middleware import retry_after
from perfkit.postgres.outages import UNAVAILABLE, is_outage

logger = logging.getLogger("perfkit.api")


def problems_of(error: RequestError | type[RequestError]) -> list[dict[str, Any]]:
    """Return what is wrong with a request, as ninja tells it."""
    field = getattr(error, "field", "")
    location = ["query", field] if field else ["query"]
    return [{"type": "value_error", "loc": location, "msg": str(error)}]


def add_error_handlers(api: NinjaAPI) -> None:
    """Let `api` answer perfkit's errors: RequestError with a 422 as ninja's own, UnavailableError with a 503.

    A database that cannot be reached is a 503 too, see `perfkit.postgres.is_outage`; what else a database says is
    left to the API's other handlers.
    A 503 says when to try again, and its cause stands in the log, not in the answer.
    Every answer of its operations tells in header fields how the client stands with its rate limits.
    """

    def bad_request(request: HttpRequest, error: RequestError | type[RequestError]) -> HttpResponse:
        return api.create_response(request, {"detail": problems_of(error)}, status=422)

    def unavailable(request: HttpRequest, error: UnavailableError | type[UnavailableError]) -> HttpResponse:
        logger.error("%s %s was answered with a 503: %s", request.method, request.path, error)
        return try_later(request, error)

    def try_later(request: HttpRequest, error: UnavailableError | type[UnavailableError]) -> HttpResponse:
        return answered(request, str(math.ceil(options.CACHE_RETRY_AFTER)))

    def answered(request: HttpRequest, retry: str) -> HttpResponse:
        response = api.create_response(request, {"detail": UNAVAILABLE}, status=503)
        response["Retry-After"] = retry
        return response

    def database_failed(
        request: HttpRequest, error: OperationalError | type[OperationalError]
    ) -> HttpResponse:
        if isinstance(error, OperationalError) and is_outage(error):
            logger.error("%s %s was answered with a 503: %s", request.method, request.path, error)
            return answered(request, retry_after())
        # As if this handler were not there; ninja always has one for Exception.
        following = api._lookup_exception_handler(DatabaseError())  # noqa: SLF001  # it has no public name
        return following(request, error)  # type: ignore[misc,no-any-return,unused-ignore]

    def run(run: Run | AsyncRun) -> Run | AsyncRun:
        return limited_run(run, answer=api.on_exception)

    api.add_exception_handler(RequestError, bad_request)
    api.add_exception_handler(UnavailableError, unavailable)
    api.add_exception_handler(LimiterUnavailableError, try_later)  # the log has it, once for each outage
    api.add_exception_handler(OperationalError, database_failed)
    api.add_decorator(run, mode="view")
