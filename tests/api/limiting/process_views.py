"""Views for the processes of `test_processes`."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path
from ninja import NinjaAPI

from perfkit.api import add_error_handlers, default_throttles, rate_limit

api = NinjaAPI(urls_namespace="limits-processes", throttle=default_throttles())
add_error_handlers(api)


@api.get("throttled")
def throttled(request: HttpRequest) -> str:
    return "allowed"


@rate_limit("100/minute")
def decorated(request: HttpRequest) -> HttpResponse:
    return HttpResponse("allowed")


@rate_limit("100/minute")
async def decorated_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse("allowed")


@rate_limit("300/hour")
def large(request: HttpRequest) -> HttpResponse:
    return HttpResponse("allowed")


def free(request: HttpRequest) -> HttpResponse:
    return HttpResponse("free")


urlpatterns = [
    path("decorated", decorated),
    path("decorated-async", decorated_async),
    path("large", large),
    path("free", free),
    path("", api.urls),
]
