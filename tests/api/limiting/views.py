"""Views of both kinds, limited in every way."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from ninja import NinjaAPI, Schema, Status
from ninja.errors import Throttled
from ninja.responses import Response
from ninja.security import APIKeyHeader

from perfkit.api import RateLimitThrottle, add_error_handlers, default_throttles, rate_limit
from perfkit.caching import cache_response


class Key(APIKeyHeader):
    param_name = "X-Key"

    def authenticate(self, request: HttpRequest, key: str | None) -> str | None:
        return key


class Out(Schema):
    name: str


api = NinjaAPI(urls_namespace="limits-api")
add_error_handlers(api)
bare = NinjaAPI(urls_namespace="limits-bare")
own = NinjaAPI(urls_namespace="limits-own")
add_error_handlers(own)


@own.exception_handler(Throttled)
def slow_down(request: HttpRequest, error: Throttled) -> HttpResponse:
    return Response({"slow": "down"}, status=429)


def allowed(request: HttpRequest) -> str:
    return "allowed"


async def allowed_async(request: HttpRequest) -> str:
    return "allowed"


for each in (api, bare, own):
    each.get("default", throttle=default_throttles())(allowed)
    each.get("default-async", throttle=default_throttles())(allowed_async)
    each.get("by-key", auth=Key(), throttle=RateLimitThrottle("2/hour", scope="by-key"))(allowed)
    each.get("costly", throttle=RateLimitThrottle("10/hour", cost=4, scope="costly"))(allowed)

    @each.get("limited", response=Out)
    @rate_limit("3/hour", scope=f"limited {each.urls_namespace}")
    def limited(request: HttpRequest, name: str = "anybody") -> dict[str, str]:
        return {"name": name}

    @each.get("limited-async", response=Out)
    @rate_limit("3/hour", scope=f"limited async {each.urls_namespace}")
    async def limited_async(request: HttpRequest, name: str = "anybody") -> dict[str, str]:
        return {"name": name}


@api.get("limited-by-key", auth=Key(), response={200: Out, 201: Out})
@rate_limit("2/hour", by="key")
def limited_by_key(request: HttpRequest) -> Any:
    return Status(201, {"name": "made"})


@api.get("several", throttle=RateLimitThrottle("4/hour", scope="several"))
@rate_limit("100/day", "10/hour burst 6", by="address")
def several(request: HttpRequest) -> str:
    return "allowed"


@api.get("faulty", throttle=RateLimitThrottle("9/hour", scope="faulty"))
def faulty(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse(b"raw")


@rate_limit("3/hour")
def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("allowed")


@rate_limit("3/hour")
async def plain_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse("allowed")


@rate_limit("2/hour", methods=["post"], by="address")
def login(request: HttpRequest) -> HttpResponse:
    return HttpResponse("Welcome.")


@rate_limit("10/hour", by="everyone", cost=lambda request: int(request.GET.get("cost", "0")))
def costly(request: HttpRequest) -> HttpResponse:
    return HttpResponse("allowed")


@method_decorator(rate_limit("2/hour"), name="dispatch")
class ClassView(View):
    def get(self, request: HttpRequest, number: int) -> HttpResponse:
        return HttpResponse(str(number))


@cache_response(ttl=60, ignores=["REMOTE_ADDR"])
@rate_limit("2/hour", by="address")
def kept(request: HttpRequest) -> HttpResponse:
    return HttpResponse("kept")


def free(request: HttpRequest) -> HttpResponse:
    return HttpResponse("free")


async def free_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse("free")


urlpatterns = [
    path("api/", api.urls),
    path("bare/", bare.urls),
    path("own/", own.urls),
    path("plain", plain),
    path("plain-async", plain_async),
    path("login", login),
    path("costly", costly),
    path("class/<int:number>", ClassView.as_view()),
    path("kept", kept),
    path("free", free),
    path("free-async", free_async),
    path("health/live", free),
]
