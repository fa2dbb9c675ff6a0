"""Turns perfkit's errors into answers of the API."""

from __future__ import annotations

import logging
import math
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI

from perfkit.conf import options
from perfkit.errors import RequestError, UnavailableError

logger = logging.getLogger("perfkit.api")


def add_error_handlers(api: NinjaAPI) -> None:
    """Let `api` answer perfkit's errors: RequestError with a 422 as ninja's own, UnavailableError with a 503.

    A 503 says when to try again, and its cause stands in the log, not in the answer.
    """

    def bad_request(request: HttpRequest, error: RequestError | type[RequestError]) -> HttpResponse:
        field = getattr(error, "field", "")
        location = ["query", field] if field else ["query"]
        detail: list[dict[str, Any]] = [{"type": "value_error", "loc": location, "msg": str(error)}]
        return api.create_response(request, {"detail": detail}, status=422)

    def unavailable(request: HttpRequest, error: UnavailableError | type[UnavailableError]) -> HttpResponse:
        logger.error("%s %s was answered with a 503: %s", request.method, request.path, error)
        response = api.create_response(request, {"detail": "Temporarily unavailable."}, status=503)
        response["Retry-After"] = str(math.ceil(options.CACHE_RETRY_AFTER))
        return response

    api.add_exception_handler(RequestError, bad_request)
    api.add_exception_handler(UnavailableError, unavailable)
