"""Views of all kinds, to be measured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path, re_path

from perfkit.caching import cache_response
from perfkit.monitoring import timed
from perfkit.monitoring.work import current_work
from tests.testapp.models import Item


def plain(request: HttpRequest, **_: Any) -> HttpResponse:
    return HttpResponse("plain")


def queries(request: HttpRequest, number: int) -> HttpResponse:
    with timed("pages.queries"):
        for _ in range(number):
            Group.objects.count()
    work = current_work()
    return JsonResponse({"queries": None if work is None else work.queries})


async def queries_async(request: HttpRequest, number: int) -> HttpResponse:
    with timed("pages.queries"):
        await asyncio.gather(*(Group.objects.acount() for _ in range(number)))
        await sync_to_async(Group.objects.count)()
    work = current_work()
    return JsonResponse({"queries": None if work is None else work.queries})


def failing(request: HttpRequest) -> HttpResponse:
    Group.objects.count()
    raise RuntimeError("a view fails")


async def failing_async(request: HttpRequest) -> HttpResponse:
    await Group.objects.acount()
    raise RuntimeError("a view fails")


def refusing(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


def streaming(request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[bytes]:
        for _ in range(3):
            yield str(Group.objects.count()).encode()

    return StreamingHttpResponse(parts())


async def streaming_async(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield str(await Group.objects.acount()).encode()

    return StreamingHttpResponse(parts())


def begun() -> None:
    """Called where the view that hangs has begun; a test replaces it."""


async def hanging(request: HttpRequest) -> HttpResponse:
    begun()
    await asyncio.sleep(60)
    return HttpResponse()


def who(request: HttpRequest) -> HttpResponse:
    """Asks who is there."""
    with timed('pages "who"; is'):
        return HttpResponse(request.user.get_username())


async def who_async(request: HttpRequest) -> HttpResponse:
    user = await request.auser()  # type: ignore[attr-defined]
    return HttpResponse(user.get_username())


def public(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.user.get_username(), headers={"Cache-Control": "public, max-age=60"})


@cache_response(60)
def kept(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(Item.objects.count()), headers={"Server-Timing": "made;dur=1"})


def items(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(Item.objects.uncached().count()))


def secret(request: HttpRequest, token: str) -> HttpResponse:
    """Has queries of many kinds with a secret in each."""
    Group.objects.filter(name=token).exists()
    Group.objects.extra(where=[f"name <> '{token}'"]).count()  # noqa: S610  # what people write
    with timed("pages.secret"):
        return HttpResponse(token)


urlpatterns = [
    path("plain", plain),
    path("items/<int:pk>", plain),
    re_path(r"^old/(?P<year>[0-9]{4})/$", plain),
    path("queries/<int:number>", queries),
    path("queries-async/<int:number>", queries_async),
    path("failing", failing),
    path("failing-async", failing_async),
    path("refusing", refusing),
    path("streaming", streaming),
    path("streaming-async", streaming_async),
    path("hanging", hanging),
    path("who", who),
    path("who-async", who_async),
    path("public", public),
    path("kept", kept),
    path("kept-by-middleware", items),
    path("secret/<str:token>", secret),
]
