"""Views that do what the panel is to show."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

from asgiref.sync import sync_to_async
from django.db import connection, connections
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Schema

from perfkit.api import compiled_json
from perfkit.bulk import bulk_insert, bulk_update
from perfkit.caching import cache, cached
from perfkit.limiting.limiter import Limiter
from perfkit.loading import RelatedCount, RelatedRows, eager
from project.flights.models import Airline, Flight
from tests.testapp.jobs import leave_effect
from tests.testapp.models import Item

EVIL = "<script>alert(1)</script>"
SECRET = "s3cr3t-8f14e45f"
PAGE = "<!doctype html><html><head><title>t</title></head><body><main>{}</main></body></html>"

limiter = Limiter("2/hour", scope=f"orders {EVIL}")


@cached("quote:{token}", ttl=60, tags=["owner:{token}"])
def quoted(token: str) -> int:
    return Item.objects.uncached().count() + len(token)


def page(text: object = "") -> HttpResponse:
    return HttpResponse(PAGE.format(text))


def nothing(request: HttpRequest) -> HttpResponse:
    return page()


def reads(request: HttpRequest) -> HttpResponse:
    item = Item.objects.first()
    assert item is not None
    for _ in range(2):
        Item.objects.get(pk=item.pk)
    list(Item.objects.order_by("?"))
    return page(quoted("plain"))


async def areads(request: HttpRequest) -> HttpResponse:
    item = await Item.objects.afirst()
    assert item is not None
    await Item.objects.aget(pk=item.pk)
    await sync_to_async(Item.objects.get)(pk=item.pk)
    await sync_to_async(quoted_elsewhere, thread_sensitive=False)()
    return page()


def quoted_elsewhere() -> int:
    """Read in a thread that ends with nobody to close its connections."""
    try:
        return quoted("elsewhere")
    finally:
        connections.close_all()


def loops(request: HttpRequest) -> HttpResponse:
    return page(", ".join(flight.airline.name for flight in Flight.objects.all()))


async def aloops(request: HttpRequest) -> HttpResponse:
    return page([each async for each in _names()])


async def _names() -> AsyncIterator[str]:
    async for flight in Flight.objects.all():
        yield (await Airline.objects.aget(pk=flight.airline_id)).name


def plans(request: HttpRequest) -> HttpResponse:
    latest = RelatedRows("reports", filter=Q(note=SECRET), limit=3, to_attr="latest")
    flights = eager(Flight.objects.all(), "airline", latest)
    counted = Airline.objects.annotate(flown=RelatedCount("flights", filter=Q(tailnum=SECRET)))
    return page(len(flights) + len(counted))


def limits(request: HttpRequest) -> HttpResponse:
    client = f"{SECRET} {uuid4()}"
    verdicts = [limiter.take(client) for _ in range(3)]
    return page([each and each.is_admitted for each in verdicts])


def writes(request: HttpRequest) -> HttpResponse:
    bulk_insert(Item, [{"name": f"{SECRET} {number}"} for number in range(3)])
    first = Item.objects.uncached().order_by("pk").first()
    assert first is not None
    bulk_update(Item, [(first.pk, {"name": SECRET})])
    return page()


def plants(request: HttpRequest) -> HttpResponse:
    """Put secrets and markup wherever a value can be."""
    secret = request.GET["secret"] + request.COOKIES["secret"] + request.headers["X-Secret"]
    Item.objects.uncached().filter(name=secret).exists()
    list(Item.objects.filter(name=secret))
    cache.set(f"user:{secret}", secret, tags=[secret])
    cache.get(f"user:{secret}")
    cache.get_many([f"user:{secret}", f"gone:{secret}"])
    quoted(secret)
    quoted(secret)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT '{secret}' AS \"{EVIL}\" /* {secret} */ -- {secret}")
    limiter.take(secret)
    leave_effect.enqueue(1, note=secret)
    return page()


def floods(request: HttpRequest) -> HttpResponse:
    for number in range(700):
        quoted(f"{number}")
    return page()


def streams(request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[str]:
        for _ in range(3):
            yield f"{quoted('stream')} {Item.objects.uncached().count()}\n"

    return StreamingHttpResponse(parts())


async def astreams(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        for _ in range(3):
            yield f"{await Item.objects.uncached().acount()}\n"

    return StreamingHttpResponse(parts())


together = threading.Barrier(2, timeout=30)


def meets(request: HttpRequest, number: int) -> HttpResponse:
    """Read `number` times, in the midst of another request that does the same."""
    together.wait()
    for each in range(number):
        quoted(f"{number} {each}")
    together.wait()
    return page()


class Waiting:
    """Two requests in one event loop, each in the midst of the other."""

    def __init__(self) -> None:
        self.here = 0
        self.both = asyncio.Event()

    async def wait(self) -> None:
        self.here += 1
        if self.here == 2:
            self.both.set()
        await asyncio.wait_for(self.both.wait(), 30)


waiting: list[Waiting] = []


async def ameets(request: HttpRequest, number: int) -> HttpResponse:
    await waiting[-1].wait()
    for each in range(number):
        await sync_to_async(quoted)(f"async {number} {each}")
        await asyncio.sleep(0)
    return page()


class Plain(Schema):
    code: str
    name: str


class Computed(Plain):
    @staticmethod
    def resolve_name(row: Any) -> str:
        return str(row.name).upper()


def answers(request: HttpRequest) -> HttpResponse:
    airlines = Airline.objects.uncached().order_by("code")
    return page(compiled_json(airlines, Plain) + compiled_json(airlines, Computed))
