"""Turns perfkit's errors into answers of the API."""

from __future__ import annotations

import logging
import math
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI

from perfkit.api.limiting.operations import AsyncRun, Run, limited_run
from perfkit.api.limiting.requests import UNAVAILABLE
from perfkit.conf import options
from perfkit.errors import LimiterUnavailableError, RequestError, UnavailableError

logger = logging.getLogger("perfkit.api")


def add_error_handlers(api: NinjaAPI) -> None:
    """Let `api` answer perfkit's errors: RequestError with a 422 as ninja's own, UnavailableError with a 503.

    A 503 says when to try again, and its cause stands in the log, not in the answer.
    Every answer of its operations tells in header fields how the client stands with its rate limits.
    """

    def bad_request(request: HttpRequest, error: RequestError | type[RequestError]) -> HttpResponse:
        field = getattr(error, "field", "")
        location = ["query", field] if field else ["query"]
        detail: list[dict[str, Any]] = [{"type": "value_error", "loc": location, "msg": str(error)}]
        return api.create_response(request, {"detail": detail}, status=422)

    def unavailable(request: HttpRequest, error: UnavailableError | type[UnavailableError]) -> HttpResponse:
        logger.error("%s %s was answered with a 503: %s", request.method, request.path, error)
        return try_later(request, error)

    def try_later(request: HttpRequest, error: UnavailableError | type[UnavailableError]) -> HttpResponse:
        response = api.create_response(request, {"detail": UNAVAILABLE}, status=503)
        response["Retry-After"] = str(math.ceil(options.CACHE_RETRY_AFTER))
        return response

    def run(run: Run | AsyncRun) -> Run | AsyncRun:
        return limited_run(run, answer=api.on_exception)

    api.add_exception_handler(RequestError, bad_request)
    api.add_exception_handler(UnavailableError, unavailable)
    api.add_exception_handler(LimiterUnavailableError, try_later)  # the log has it, once for each outage
    api.add_decorator(run, mode="view")
