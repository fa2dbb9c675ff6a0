"""Views that tell which request they are run for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

from perfkit.api import after_response
from perfkit.tracing import request_id

logger = logging.getLogger("somebody.else")


def told(request: HttpRequest) -> dict[str, str]:
    return {
        "current": request_id(),
        "attribute": request.request_id,
        "meta": request.META["HTTP_X_REQUEST_ID"],
    }  # type: ignore[attr-defined]


def plain(request: HttpRequest) -> JsonResponse:
    logger.warning("plain")
    return JsonResponse(told(request))


async def aplain(request: HttpRequest) -> JsonResponse:
    before = request_id()
    await asyncio.sleep(0)
    in_thread = await sync_to_async(request_id)()
    task = await asyncio.create_task(sync_to_async(request_id)())
    return JsonResponse({**told(request), "before": before, "in_thread": in_thread, "task": task})


def failing(request: HttpRequest) -> HttpResponse:
    raise ValueError("It fails.")


def streamed(request: HttpRequest) -> StreamingHttpResponse:
    def pieces() -> Iterator[str]:
        for number in range(3):
            logger.warning("piece %d", number)
            yield f"{request_id()}\n"

    return StreamingHttpResponse(pieces())


async def astreamed(request: HttpRequest) -> StreamingHttpResponse:
    async def pieces() -> AsyncIterator[str]:
        try:
            for _ in range(3):
                await asyncio.sleep(0)
                yield f"{request_id()}\n"
        finally:
            logger.warning("closed")

    return StreamingHttpResponse(pieces())


def later(request: HttpRequest) -> HttpResponse:
    after_response(log_later)
    return HttpResponse()


def log_later() -> None:
    logger.warning("later")


def queried(request: HttpRequest, number: int) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s", [number])
        return HttpResponse(cursor.fetchone()[0])


urlpatterns = [
    path("plain/", plain),
    path("aplain/", aplain),
    path("failing/", failing),
    path("streamed/", streamed),
    path("astreamed/", astreamed),
    path("later/", later),
    path("queried/<int:number>/", queried, name="it's queried"),
]
