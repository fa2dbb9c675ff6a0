"""Runs in a process of its own: one command in, one answer out.

A command is the name of one of the functions below, with its arguments.
`stop(point)` makes the next passage of that point tell `{"at": point}` and wait until it may go on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.conf import settings  # noqa: E402  # the apps come first
from django.core.signals import setting_changed  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.db.models import Max  # noqa: E402

from perfkit.caching import coherence, flights, tokens  # noqa: E402
from perfkit.caching.store import Store, current_store  # noqa: E402
from perfkit.signals import cache_read  # noqa: E402
from tests.caching.processes.points import put_points  # noqa: E402
from tests.testapp.models import Booking, Bundle, Item, Sample  # noqa: E402

FIRST_BOOKING = 1_000_000
"""Rows with larger keys are bookings, whose lists are asked for by their zone; others are items."""

READS: dict[str, Callable[[int], str]] = {
    "get": lambda pk: Item.objects.get(pk=pk).name,
    "list": lambda pk: list(Item.objects.filter(id__in=[pk], count__gte=0)).pop().name,
    "joined list": lambda pk: list(Sample.objects.filter(item=pk).select_related("item")).pop().item.name,
    "many to many": lambda pk: list(Bundle(pk=pk).items.all()).pop().name,
    "values": lambda pk: Item.objects.filter(id=pk).values_list("name", flat=True)[0],
    "declared list": lambda pk: {row.pk: row for row in Booking.objects.filter(zone="north")}[pk].name,
    "aggregate": lambda pk: Item.objects.filter(id=pk).aggregate(name=Max("name"))["name"],
}
"""Ways to read the name of a row; a bundle and a sample that belong to it are there too."""

_pipe: Connection
_loaded: Booking
_stops: set[str] = set()
_outcomes: list[str] = []


def passes(point: str) -> None:
    """Stand still here, if the test asked for it."""
    if point in _stops:
        _stops.discard(point)
        _pipe.send({"at": point})
        assert _pipe.recv() == "go"


def note(outcome: str, reason: str, **_: Any) -> None:
    _outcomes.append(f"{outcome} {reason}".strip())


def stop(point: str) -> None:
    _stops.add(point)


def get(pk: int, kind: str = "get") -> list[str]:
    """Return the name as a cached read of that kind finds it, and where that came from."""
    _outcomes.clear()
    return [READS[kind](pk), *_outcomes]


def update(pk: int, name: str, *, atomic: bool = False) -> str:
    rows = rows_with(pk)
    try:
        if atomic:
            with transaction.atomic():
                rows.update(name=name)
        else:
            rows.update(name=name)
    except Exception as error:  # noqa: BLE001  # told to the test
        return type(error).__name__
    return ""


def timed_update(pk: int, name: str, **kwargs: Any) -> float:
    start = time.monotonic()
    assert update(pk, name, **kwargs) == ""
    return time.monotonic() - start


def rows_with(pk: int) -> Any:
    return (Booking if pk >= FIRST_BOOKING else Item).plain.filter(pk=pk)


def plain(pk: int) -> str:
    return str(rows_with(pk).get().name)


def load(pk: int) -> None:
    """Have an instance of a booking in this process."""
    global _loaded  # noqa: PLW0603  # saved by a later command
    _loaded = Booking.plain.get(pk=pk)


def save(zone: str) -> None:
    """Save the whole instance, with another zone."""
    _loaded.zone = zone
    _loaded.save()


def zone(name: str) -> list[Any]:
    """Return the keys of a zone's bookings, and where they came from."""
    _outcomes.clear()
    return [sorted(row.pk for row in Booking.objects.filter(zone=name)), *_outcomes]


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def increment(pk: int, seconds: float) -> int:
    """Write as fast as possible, in turn by each way; return how often."""
    writes = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        writes += 1
        if writes % 3 == 0:
            with transaction.atomic():
                Item.plain.filter(pk=pk).update(count=writes)
        elif writes % 3 == 1:
            Item.plain.filter(pk=pk).update(count=writes)
        else:
            execute(f"UPDATE testapp_item SET count = {writes}")
    return writes


def watch(pk: int, seconds: float) -> dict[str, int]:
    """Compare what a cached read yields with what was committed before it began."""
    told = {"stale": 0, "hit": 0, "reads": 0}
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        committed = Item.plain.values_list("count", flat=True).get(pk=pk)
        for _ in range(3):
            _outcomes.clear()
            told["stale"] += Item.objects.get(pk=pk).count < committed
            told["hit"] += _outcomes == ["hit"]
            told["reads"] += 1
    return told


def configure(
    database: str,
    redis_url: str,
    lease_ms: int,
    options: dict[str, Any],
    *,
    flight_seconds: float = flights.UNKNOWN_LEASE_SECONDS,
) -> None:
    connection.settings_dict["NAME"] = database
    settings.CACHES["default"]["LOCATION"] = redis_url
    settings.PERFKIT = {**settings.PERFKIT, **options}
    for name in ("CACHES", "PERFKIT"):
        setting_changed.send(sender=None, setting=name, value=getattr(settings, name), enter=True)
    tokens.WRITE_LEASE_MS = lease_ms  # type: ignore[misc]  # shorter than in earnest
    coherence.silence.notice_seconds = lease_ms / 1000
    flights.UNKNOWN_LEASE_SECONDS = flight_seconds  # type: ignore[misc]


def run(*, pipe: Connection, **configuration: Any) -> None:
    """Do what the test says until it hangs up."""
    global _pipe  # noqa: PLW0603  # there is one for each process
    _pipe = pipe
    configure(**configuration)
    put_points(passes)
    store: Any = current_store()
    store.offer = partial(Store.offer, store)  # waits, as in `tests.caching.conftest`
    cache_read.connect(note)
    pipe.send({"answer": "ready"})
    try:
        while True:
            name, args, kwargs = pipe.recv()
            pipe.send({"answer": globals()[name](*args, **kwargs)})
    except EOFError:
        connection.close()
