"""Answers probes before any other middleware, so that none of them can fail or refuse one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import NoReverseMatch, get_script_prefix, reverse

from perfkit.monitoring.health.answers import answer, has_session, is_let_in
from perfkit.monitoring.health.probes import Probe, acheck_health, check_health
from perfkit.monitoring.health.views import PROBES

Handler = Callable[[HttpRequest], HttpResponseBase]
AsyncHandler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

SAFE: Final = ("GET", "HEAD")

_paths: Final[dict[tuple[str, str], dict[str, Probe]]] = {}
"""What is asked for at which path, by the prefix under which the site runs and the module of its routes."""


class HealthMiddleware:
    """Answers requests to the routes of `perfkit.monitoring.health.urls`; put it first in `MIDDLEWARE`.

    There a probe meets no redirect to HTTPS, no rate limit, no session and no query of the project's, and may have
    any `Host`: an answer depends on no name, and has none in it.
    Whoever sends a session's cookie goes on to the view, which knows whether they are staff; but for `live`.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Handler | AsyncHandler) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Return the answer."""
        probe = _probe(request)
        if self._is_async:
            return self._arespond(request, probe)
        if probe is None:
            return cast("Handler", self._get_response)(request)
        return answer(request, check_health(probe), has_details=is_let_in(request))

    async def _arespond(self, request: HttpRequest, probe: Probe | None) -> HttpResponseBase:
        if probe is None:
            return await cast("AsyncHandler", self._get_response)(request)
        return answer(request, await acheck_health(probe), has_details=is_let_in(request))


def _probe(request: HttpRequest) -> Probe | None:
    """Return what a request asks for; None where that is for others to answer."""
    site = get_script_prefix(), settings.ROOT_URLCONF
    paths = _paths.get(site)
    if paths is None:
        paths = _paths[site] = _routes()
    probe = paths.get(request.path)
    if probe is None or request.method not in SAFE or (probe != "live" and has_session(request)):
        return None
    return probe


def _routes() -> dict[str, Probe]:
    try:
        return {reverse(f"perfkit_health:{probe}"): probe for probe in PROBES}
    except NoReverseMatch:
        return {}
