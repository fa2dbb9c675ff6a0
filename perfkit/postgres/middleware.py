"""Answers requests that the database is needed for while it cannot be reached."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template import TemplateDoesNotExist, loader

from perfkit.conf import options
from perfkit.postgres.outages import UNAVAILABLE, is_outage

logger = logging.getLogger("perfkit.postgres")

Handler = Callable[[HttpRequest], HttpResponseBase]
AsyncHandler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

TEMPLATE: Final = "503.html"
PAGE: Final = f"""\
<!doctype html>
<html lang="en">
<head><title>{UNAVAILABLE}</title></head>
<body><h1>{UNAVAILABLE}</h1><p>Please try again in a moment.</p></body>
</html>
"""
SERVER_ERROR: Final = 500
_FAILED: Final = "_perfkit_outage"


class OutageMiddleware:
    """Answers with a 503 and `Retry-After` where a request fails because the database cannot be reached.

    It is for views, templates and middleware alike: put it first in `MIDDLEWARE`, or directly after what should
    see all answers. Whatever else fails stays as it is.

    A browser gets the template `503.html` where the project has one, rendered without a request, as Django does
    with `500.html`; a client that prefers JSON, an object with `detail`. The cause stands in the log only.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Handler | AsyncHandler) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        got_request_exception.connect(_note, dispatch_uid="perfkit.postgres.middleware")

    def __call__(self, request: HttpRequest) -> Any:
        """Return the answer."""
        if self._is_async:
            return self._arespond(request)
        return _checked(request, cast("Handler", self._get_response)(request))

    async def _arespond(self, request: HttpRequest) -> HttpResponseBase:
        return _checked(request, await cast("AsyncHandler", self._get_response)(request))

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer for a view, so that Django does not report a server error."""
        return unavailable(request, error) if is_outage(error) else None


def unavailable(request: HttpRequest, error: BaseException | str) -> HttpResponse:
    """Return the 503 to a request, and log why."""
    logger.error("%s %s was answered with a 503: %s", request.method, request.path, error)
    preferred = request.get_preferred_type(["text/html", "application/json"])
    if preferred == "application/json":
        response: HttpResponse = JsonResponse({"detail": UNAVAILABLE}, status=503)
    else:
        response = HttpResponse(_page(), status=503)
    response["Retry-After"] = retry_after()
    return response


def retry_after() -> str:
    """Return what the header field says."""
    return str(math.ceil(options.DATABASE_RETRY_AFTER))


def _page() -> str:
    try:
        return loader.get_template(TEMPLATE).render()
    except TemplateDoesNotExist:
        return PAGE


def _note(*, request: HttpRequest | None = None, **_: Any) -> None:
    """Note that a middleware or what the view has no part in failed; Django makes a 500 of that by itself."""
    error = sys.exc_info()[1]
    if request is not None and error is not None and is_outage(error):
        setattr(request, _FAILED, str(error))


def _checked(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    if response.status_code != SERVER_ERROR:
        return response
    told = vars(request).pop(_FAILED, None)
    return response if told is None else unavailable(request, told)
