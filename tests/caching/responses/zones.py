"""A middleware that takes the time zone from a header, as projects have one."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone


def zone_middleware(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    def handle(request: HttpRequest) -> HttpResponseBase:
        with timezone.override(ZoneInfo(request.headers.get("X-Zone", "UTC"))):
            return get_response(request)

    return handle
