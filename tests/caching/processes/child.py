"""Runs in a process of its own: one command in, one answer out.

A command is the name of one of the functions below, with its arguments.
`stop(point)` makes the next passage of that point tell `{"at": point}` and wait until it may go on.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from asgiref.sync import async_to_sync  # noqa: E402  # the apps come first
from django.conf import settings  # noqa: E402  # the apps come first
from django.core.signals import setting_changed  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.db.models import Max  # noqa: E402
from django.test import Client  # noqa: E402

from perfkit.caching import (  # noqa: E402
    Answer,
    cache,
    cached,
    coherence,
    flights,
    invalidate,
    tokens,
    warm,
)
from perfkit.caching.counting import counting  # noqa: E402
from perfkit.caching.store import Store, current_store  # noqa: E402
from perfkit.caching.warming import sharing, warmers  # noqa: E402
from perfkit.signals import cache_read  # noqa: E402
from tests.caching.processes import RENEWED_SECONDS  # noqa: E402
from tests.caching.processes.points import put_points  # noqa: E402
from tests.plugins.aliases import alias  # noqa: E402
from tests.testapp.models import Booking, Bundle, Item, Sample  # noqa: E402

FIRST_BOOKING = 1_000_000
"""Rows with larger keys are bookings, whose lists are asked for by their zone; others are items."""


@cached("child:name:{pk}", ttl=600)
def name_of(pk: int) -> str:
    return str(Item.plain.get(pk=pk).name)


@cached("child:count:{pk}", ttl=600)
def count_of(pk: int) -> int:
    _called.append(pk)
    return Item.plain.values_list("count", flat=True).get(pk=pk)


@cached(ttl=600)
async def async_name_of(pk: int) -> str:
    return str((await Item.plain.aget(pk=pk)).name)


@cached(ttl=600)
def raw_names() -> dict[int, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, name FROM testapp_item")
        return dict(cursor.fetchall())


@cached(ttl=600)
def rows_of(pk: int) -> list[Sample]:
    return list(Sample.plain.filter(item=pk).select_related("item"))


@dataclass
class Namer:
    """An object whose fields tell its calls from those of others."""

    prefix: str

    @cached(ttl=600)
    def name(self, pk: int) -> str:
        return self.prefix + Item.plain.values_list("name", flat=True).get(pk=pk)


def page_of(kind: str) -> Callable[[int], str]:
    client = Client(SERVER_NAME="localhost")  # one handler, as a server has it

    def read(pk: int) -> str:
        return str(client.get(f"/{kind}/{pk}").content.decode())

    return read


READS: dict[str, Callable[[int], str]] = {
    "get": lambda pk: Item.objects.get(pk=pk).name,
    "list": lambda pk: list(Item.objects.filter(id__in=[pk], count__gte=0)).pop().name,
    "joined list": lambda pk: list(Sample.objects.filter(item=pk).select_related("item")).pop().item.name,
    "many to many": lambda pk: list(Bundle(pk=pk).items.all()).pop().name,
    "values": lambda pk: Item.objects.filter(id=pk).values_list("name", flat=True)[0],
    "declared list": lambda pk: {row.pk: row for row in Booking.objects.filter(zone="north")}[pk].name,
    "aggregate": lambda pk: Item.objects.filter(id=pk).aggregate(name=Max("name"))["name"],
    "function": name_of,
    "async function": async_to_sync(async_name_of),
    "function of raw SQL": lambda pk: raw_names()[pk],
    "function of rows": lambda pk: rows_of(pk)[0].item.name,
    "page": page_of("plain"),
    "page by the middleware": page_of("untouched"),
    "asynchronous page": page_of("async"),
    "method": lambda pk: Namer("it is ").name(pk).removeprefix("it is "),
}
"""Ways to read the name of a row; a bundle and a sample that belong to it are there too."""

_pipe: Connection
_loaded: Booking
_stops: set[str] = set()
_outcomes: list[str] = []
_made: list[int] = []
_called: list[int] = []
"""With what `count_of` was called."""


def passes(point: str) -> None:
    """Stand still here, if the test asked for it."""
    if point in _stops:
        _stops.discard(point)
        _pipe.send({"at": point})
        assert _pipe.recv() == "go"


def note(outcome: str, reason: str, **_: Any) -> None:
    _outcomes.append(f"{outcome} {reason}".strip())


def begin_anew() -> None:
    """Keep nothing of what earlier tests have left here: no transaction, no notice that was found."""
    _stops.clear()
    execute("ROLLBACK")
    coherence.outbox.look_again(connection.alias)


def stop(point: str) -> None:
    _stops.add(point)


def get(pk: int, kind: str = "get") -> list[str]:
    """Return the name as a cached read of that kind finds it, and where that came from."""
    _outcomes.clear()
    return [READS[kind](pk), *_outcomes]


def read_often(pk: int, times: int) -> dict[str, int]:
    """Read a row, and return how often with which outcome."""
    _outcomes.clear()
    for _ in range(times):
        Item.objects.get(pk=pk)
    return dict(Counter(_outcomes))


def tell_counts() -> None:
    """Tell the store what was counted, as at the end of a request."""
    counting.tell()


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


def set_value(key: str, value: Any, tags: Sequence[str] = ()) -> bool:
    return cache.set(key, value, tags=tags)


def get_value(key: str) -> list[Any]:
    """Return what is kept under a key, and where that came from."""
    _outcomes.clear()
    return [cache.get(key), *_outcomes]


def void(*patterns: str, tags: Sequence[str] = (), atomic: bool = False, commits: bool = True) -> str:
    try:
        if atomic:
            with transaction.atomic():
                invalidate(*patterns, tags=tags)
                transaction.set_rollback(not commits)
        else:
            invalidate(*patterns, tags=tags)
    except Exception as error:  # noqa: BLE001  # told to the test
        return type(error).__name__
    return ""


def slowly_made(seconds: float, value: str) -> str:
    """Return what one of all processes makes, and takes so long for."""

    def make() -> str:
        passes("making")
        time.sleep(seconds)
        return value

    return str(cache.get_or_set("slowly", make))


@cached("in:vain", ttl=600)
def made_in_vain() -> None:
    """Make what is not kept, for it is None."""
    passes("making")


@cached("numbered", ttl=RENEWED_SECONDS, refresh_ahead=True)
def numbered() -> str:
    """Return who has made it, as his how manieth."""
    _made.append(1)
    time.sleep(0.02)
    return f"{os.getpid()} {len(_made)}"


def ask_numbered(seconds: float) -> list[Any]:
    """Ask for it again and again; return what was shown, and how often this process has made it."""
    shown = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = numbered()
        if not shown or shown[-1] != answer:
            shown.append(answer)
        time.sleep(0.005)
    return [shown, len(_made)]


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


def _items(pks: list[int]) -> Iterator[Any]:
    """What this process has warmed: rows, lists, and calls."""
    yield Item.plain.filter(pk__in=pks)
    for pk in pks:
        yield Answer(Item.objects.filter(pk=pk, count__gte=0))
        yield partial(count_of, pk)


def warm_items(pks: list[int], **options: Any) -> dict[str, Any]:
    """Warm items in each way; return what came of it, and how often the function was called."""
    _called.clear()
    warmers._warmers["items"] = lambda: _items(pks)
    [result] = warm(["items"], **options)
    return {**dataclasses.asdict(result), "calls": len(_called)}


def warm_items_after(pks: list[int], lease_seconds: float) -> dict[str, Any]:
    """Warm items, waiting for no other host longer than that."""
    sharing.LEASE_SECONDS = lease_seconds  # type: ignore[misc,assignment]  # shorter than in earnest
    return warm_items(pks)


def warm_on(pks: list[int], seconds: float) -> dict[str, int]:
    """Warm items again and again, every second time whatever holds; return how often, and what was stored."""
    told = {"runs": 0, "entries": 0}
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = warm_items(pks, force=bool(told["runs"] % 2), jobs=1 + told["runs"] % 3)
        assert not result["error"], result
        told["runs"] += 1
        told["entries"] += result["entries"]
    return told


def watch_all(pk: int, seconds: float) -> dict[str, int]:
    """Compare what each kind of warmed read yields with what was committed before it began."""
    told = {"stale": 0, "hit": 0, "reads": 0}
    reads: list[Callable[[], int]] = [
        lambda: Item.objects.get(pk=pk).count,
        lambda: Item.objects.filter(pk=pk, count__gte=0)[0].count,
        lambda: next(iter(Item.objects.filter(pk=pk, count__gte=0))).count,
        lambda: count_of(pk),
    ]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for read in reads:
            committed = Item.plain.values_list("count", flat=True).get(pk=pk)
            _outcomes.clear()
            told["stale"] += read() < committed
            told["hit"] += _outcomes == ["hit"]
            told["reads"] += 1
    return told


def configure(
    database: dict[str, Any],
    redis_url: str,
    lease_ms: int,
    options: dict[str, Any],
    *,
    flight_seconds: float = flights.UNKNOWN_LEASE_SECONDS,
) -> None:
    connection.settings_dict.update(database)
    settings.CACHES["default"] = {**settings.CACHES["default"], **alias(redis_url)}
    settings.PERFKIT = {**settings.PERFKIT, **options}
    settings.ROOT_URLCONF = "tests.caching.responses.urls"
    settings.MIDDLEWARE = ["perfkit.caching.responses.middleware.ResponseCacheMiddleware"]
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
