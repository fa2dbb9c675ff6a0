"""Cached functions and queries that the tests have warmed; each tells how often it ran."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection
from django.db.models import QuerySet, Sum
from django.utils import timezone
from django.utils.translation import gettext

from perfkit.caching import cached, cached_query
from tests.testapp.models import Item, ItemNote

ran: Final[list[Any]] = []
threads: Final[set[str]] = set()


def note(what: Any) -> None:
    ran.append(what)
    threads.add(threading.current_thread().name)


@cached("warmed:name:{pk}", ttl=600)
def name_of(pk: int) -> str | None:
    note(pk)
    return Item.plain.values_list("name", flat=True).filter(pk=pk).first()


@cached(ttl=600)
def total(*, least: int = 0) -> int:
    note(least)
    return Item.plain.filter(count__gte=least).aggregate(total=Sum("count"))["total"] or 0


@cached(ttl=600)
async def async_name_of(pk: int) -> str:
    note(pk)
    return (await Item.plain.aget(pk=pk)).name


@dataclass
class Namer:
    prefix: str

    @cached(ttl=600)
    def name(self, pk: int) -> str:
        note(pk)
        return self.prefix + Item.plain.get(pk=pk).name


@cached(ttl=600)
def greeting() -> str:
    note("greeting")
    return f"{gettext('Yes')} {timezone.get_current_timezone_name()} {Item.plain.count()}"


@cached(ttl=600)
def fails(pk: int) -> str:
    note(pk)
    if pk % 2:
        raise LookupError(f"nothing about {pk}")
    return "something"


@cached(ttl=600)
def unwatched() -> int:
    note("unwatched")
    return ItemNote.objects.count()


@cached(ttl=600)
def unkeepable() -> object:
    note("unkeepable")
    return object()


@cached(ttl=600)
def large() -> str:
    note("large")
    return "".join(f"{number:x}" for number in range(1_000_000)) * 3


@cached(ttl=600)
def needs_the_database() -> int:
    note("needs_the_database")
    with connection.cursor() as cursor:
        cursor.execute("SELECT no_such_column FROM testapp_item")
    return 0


@cached_query(ttl=600)
def from_count(least: int) -> QuerySet[Item]:
    note(least)
    return Item.plain.filter(count__gte=least).order_by("pk")
