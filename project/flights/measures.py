"""Before and after on the real data: what the demo's table shows, each row a ratio measured here and now.

Every measure interleaves both sides, repeats them, and takes medians.
What a measure writes it commits, as a project would, and removes again.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from django.core.paginator import Paginator
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from perfkit.api import paginate
from perfkit.bulk import bulk_insert
from perfkit.caching import CachedQuerySet, cached_query, token_scope
from perfkit.loading import eager
from project.flights.index_lookup import measure_index_lookup
from project.flights.models import Airport, Flight

REPEATS: Final = 5
INSERTED_ROWS: Final = 5000
COPIES_YEAR: Final = 2014
"""A year that the data does not have, so that no copy of a flight takes the natural key of a real one."""
RELATIONS: Final = ("airline", "plane", "origin", "destination", "reports__author")
PAGE_SIZE: Final = 20
DEEP_PAGE: Final = 15_000


@dataclass(frozen=True, slots=True)
class Measure:
    """One row of the table: the same work in two ways.

    Args:
        work: What is done.
        before_way: How a Django project does it today.
        before: Its cost in `unit`.
        after_way: How perfkit does it.
        after: Its cost in `unit`.
        unit: `rows/s` (more is better) or `ms` (less is better).
    """

    work: str
    before_way: str
    before: float
    after_way: str
    after: float
    unit: str

    @property
    def ratio(self) -> float:
        """How many times better `after` is."""
        better, worse = (self.after, self.before) if self.unit == "rows/s" else (self.before, self.after)
        return better / worse if worse else float("inf")

    def as_dict(self) -> dict[str, Any]:
        """Return the row for JSON."""
        return {**asdict(self), "ratio": round(self.ratio, 2)}


@contextmanager
def _swept() -> Iterator[None]:
    """Run the block, and remove the flights it writes, and those that a run before this one had to leave."""
    copies = Flight.objects.filter(year=COPIES_YEAR)
    copies.delete()
    try:
        yield
    finally:
        copies.delete()


def all_measures() -> Iterator[Measure]:
    """Yield the rows of the table, each as soon as it is measured."""
    yield from inserts()
    yield relations()
    yield lookup()
    yield from pages()
    yield from cached()


def inserts() -> Iterator[Measure]:
    """Measure how fast flights are written: one by one, by Django's bulk_create, by perfkit's bulk_insert."""
    rows = list(Flight.objects.order_by("pk").values(*_WRITTEN)[:INSERTED_ROWS])
    ways: dict[str, tuple[int, Callable[[list[Flight]], object]]] = {
        "save()": (
            INSERTED_ROWS // 10,
            _save_each,
        ),
        "bulk_create()": (
            INSERTED_ROWS,
            lambda flights: Flight.objects.bulk_create(flights, batch_size=1000),
        ),
        "bulk_insert()": (INSERTED_ROWS, lambda flights: bulk_insert(Flight, flights)),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, (count, write) in ways.items():
            flights = [Flight(**{**row, "year": COPIES_YEAR}) for row in rows[:count]]
            with _swept():
                rates[name].append(count / _seconds(lambda: write(flights)))  # noqa: B023  # called at once
    rate = {name: statistics.median(values) for name, values in rates.items()}
    for name in ("save()", "bulk_create()"):
        yield Measure(
            f"write {INSERTED_ROWS:,} flights",
            name,
            rate[name],
            "bulk_insert()",
            rate["bulk_insert()"],
            "rows/s",
        )


def relations() -> Measure:
    """Measure a list of 100 flights with airline, plane, both airports, reports and their authors."""
    newest = Flight.objects.order_by("-time_hour")[:100]

    def naive() -> None:
        _read_relations(newest.all())

    def at_once() -> None:
        _read_relations(eager(newest.all(), *RELATIONS))

    before, after = _medians(naive, at_once)
    return Measure(
        "list 100 flights with relations",
        f"lazy, {_query_count(naive)} queries",
        before,
        f"eager(), {_query_count(at_once)} queries",
        after,
        "ms",
    )


def lookup() -> Measure:
    """Measure all flights of one aeroplane, without the index on its tail number and with it."""
    times = measure_index_lookup()
    return Measure(
        f"count {times.flights} flights of one aeroplane",
        "no index",
        times.seconds_without * 1000,
        "index",
        times.seconds_with * 1000,
        "ms",
    )


def pages() -> Iterator[Measure]:
    """Measure the first page of all flights and a deep one."""
    flights = Flight.objects.order_by("-time_hour")
    for number in (1, min(DEEP_PAGE, flights.count() // PAGE_SIZE)):

        def djangos(number: int = number) -> None:
            page = Paginator(flights.all(), PAGE_SIZE).page(number)
            list(page.object_list)

        def ours(number: int = number) -> None:
            paginate(flights.all(), number, PAGE_SIZE)

        before, after = _medians(djangos, ours)
        yield Measure(f"page {number:,} of all flights", "Paginator", before, "paginate()", after, "ms")


@cached_query(ttl=3600)
def central_airports() -> QuerySet[Airport]:
    """Return 20 airports of one time zone: a declared read."""
    return Airport.objects.filter(tzone="America/Chicago").order_by("name")[:20]


def cached() -> Iterator[Measure]:
    """Measure reading airports by their keys, and a list of 20 over and over, as one request would."""
    codes = list(Airport.objects.uncached().values_list("pk", flat=True)[:100])

    def gets(airports: CachedQuerySet[Airport]) -> None:
        for code in codes:
            airports.get(pk=code)

    def lists(airports: CachedQuerySet[Airport]) -> None:
        for _ in range(100):
            list(airports.filter(tzone="America/Chicago").order_by("name")[:20])

    def declared_lists() -> None:
        for _ in range(100):
            list(central_airports())

    airports: Any = Airport.objects  # a manager has its queryset's methods
    stored = airports.uncached()
    work = "read a list of 20 airports, 100 times"
    yield _from_cache(
        "read 100 airports by key", lambda: gets(stored), "CachedManager", lambda: gets(airports)
    )
    yield _from_cache(work, lambda: lists(stored), "CachedManager", lambda: lists(airports))
    yield _from_cache(work, lambda: lists(stored), "cached_query", declared_lists)


def _from_cache(work: str, read: Callable[[], None], way: str, read_cached: Callable[[], None]) -> Measure:
    def in_a_request() -> None:
        with token_scope():
            read_cached()

    for _ in range(3):
        in_a_request()  # fills what is not warm yet
    before, after = _medians(read, in_a_request)
    return Measure(work, "from the database", before, way, after, "ms")


def _read_relations(flights: Iterable[Flight]) -> None:
    for flight in flights:
        _ = (flight.airline.name, flight.plane and flight.plane.model, flight.origin.name)
        _ = flight.destination and flight.destination.name
        _ = [(report.get_kind_display(), report.author.get_username()) for report in flight.reports.all()]


def _save_each(flights: Iterable[Flight]) -> None:
    for flight in flights:
        flight.save(force_insert=True)


def _medians(*works: Callable[[], object]) -> list[float]:
    """Return the median milliseconds of each work; rounds are interleaved, the first is not counted."""
    times: list[list[float]] = [[] for _ in works]
    for repeat in range(REPEATS + 1):
        for work, taken in zip(works, times, strict=True):
            seconds = _seconds(work)
            if repeat:
                taken.append(seconds * 1000)
    return [statistics.median(taken) for taken in times]


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _query_count(work: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        work()
    return len(captured)


_WRITTEN: Final = [field.attname for field in Flight._meta.concrete_fields if not field.primary_key]
