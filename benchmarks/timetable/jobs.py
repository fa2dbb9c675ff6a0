"""What an entrant is timed at: the same lines for all of them, on models that have its manager."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import redis
from django.db import connection
from django.db.models import QuerySet

from benchmarks.timetable.models import Airline, Departure, Flight, SlowAirline, Station, Weather
from benchmarks.timetable.settings import CACHE_URL, LIBRARY, TTL_SECONDS

WARM_KEYS: Final = 50
"""Rows that reads by primary key go through when they are to be hits."""
PAGE_ROWS: Final = 20
FIRST_DAYS: Final = 10
"""Days of January that even the quick run has flights of."""
MOST_PAGES: Final = 150
"""A page begins at one of the first so many flights of a day and an origin; there are more every day."""
TOKEN_BYTES: Final = 32
"""About what a write exchanges with the cache server."""
ORIGINS: Final = ("EWR", "JFK", "LGA")
AIRLINE: Final = "B6"
OTHER_AIRLINE: Final = "UA"


class Job:
    """Something to be timed; all methods are called in the process of the entrant."""

    def prepare(self, amount: int) -> None:
        """Make ready, outside the time; `amount` is the job's own measure of how much."""

    def disturb(self, number: int) -> None:
        """Do what happens before the call of that number, outside the time."""

    def run(self, number: int) -> object:
        """Do it once; `number` counts the calls in this process, and 0 is outside the turns."""
        raise NotImplementedError


class GetHit(Job):
    def prepare(self, amount: int) -> None:
        for pk in (
            flight_ids()[:WARM_KEYS] * 2
        ):  # a process may keep what it got from the server, the second time
            Flight.objects.get(pk=pk)

    def run(self, number: int) -> object:
        return Flight.objects.get(pk=flight_ids()[number % WARM_KEYS])


class GetUniqueHit(Job):
    def prepare(self, amount: int) -> None:
        for code in station_codes() * 2:
            Station.objects.get(code=code)

    def run(self, number: int) -> object:
        return Station.objects.get(code=station_codes()[number % WARM_KEYS])


class GetMiss(Job):
    """Each call reads a row that nobody has read."""

    def prepare(self, amount: int) -> None:
        Flight.objects.get(pk=flight_ids()[-1])

    def run(self, number: int) -> object:
        return Flight.objects.get(pk=flight_ids()[WARM_KEYS + number])


class PageHit(Job):
    def prepare(self, amount: int) -> None:
        page(0)

    def run(self, number: int) -> object:
        return page(0)


class PageDeclared(Job):
    def prepare(self, amount: int) -> None:
        for _ in range(2):  # the first call learns what the function returns
            declared_page(0)

    def run(self, number: int) -> object:
        return declared_page(0)


class PageMiss(Job):
    """Each call reads a page that nobody has read."""

    def prepare(self, amount: int) -> None:
        page(len(ORIGINS) * MOST_PAGES * FIRST_DAYS - 1)

    def run(self, number: int) -> object:
        return page(number)


class ManyHit(Job):
    def prepare(self, amount: int) -> None:
        many(amount)
        self._rows = amount

    def run(self, number: int) -> object:
        return many(self._rows)


class BoardAfterSave(Job):
    """Lists an airline's departures each time that one of another airline was saved."""

    def prepare(self, amount: int) -> None:
        self._other = Departure.objects.filter(airline=OTHER_AIRLINE).earliest("id")
        board()

    def disturb(self, number: int) -> None:
        self._other.dep_delay = number % 1000
        self._other.save()

    def run(self, number: int) -> object:
        return board()


class Save(Job):
    """Saves one flight again and again, after `amount` others were read by their keys.

    No other job reads it: after an outage in the midst of a write it is not cached until the write's lease ends.
    """

    def prepare(self, amount: int) -> None:
        for pk in flight_ids()[:amount]:
            Flight.objects.get(pk=pk)
        self._flight = Flight.objects.get(pk=flight_ids()[-2])

    def run(self, number: int) -> None:
        self._flight.arr_delay = number % 1000  # in no index
        self._flight.save()


class UncachedWrite(Job):
    def prepare(self, amount: int) -> None:
        self._weather = Weather.objects.earliest("id")

    def run(self, number: int) -> None:
        self._weather.wind_dir = number % 360
        self._weather.save()


class UncachedRead(Job):
    def run(self, number: int) -> object:
        return list(Weather.objects.filter(origin="JFK", month=1, day=1).order_by("id"))


class SlowGet(Job):
    def prepare(self, amount: int) -> None:
        Airline.objects.get(pk="AA")  # opens the connections

    def run(self, number: int) -> object:
        return SlowAirline.objects.get(pk="AA")


class RoundTrip(Job):
    """A GET of `amount` bytes with redis-py, or of a token's; no reader of a cache server can do without one."""

    def prepare(self, amount: int) -> None:
        self._client = redis.Redis.from_url(CACHE_URL)
        self._client.set("round trip", b"x" * (amount or TOKEN_BYTES))

    def run(self, number: int) -> object:
        return self._client.get("round trip")


class SaveBetweenGets(Save):
    """Saves, and asks the cache server before and after: what no announced write can do without.

    A GET among statements takes longer than one of many in a row, for the server has gone to sleep meanwhile.
    """

    def prepare(self, amount: int) -> None:
        super().prepare(amount)
        self._trip = RoundTrip()
        self._trip.prepare(0)

    def run(self, number: int) -> None:
        self._trip.run(number)
        super().run(number)
        self._trip.run(number)


JOBS: Final[Mapping[str, Job]] = {
    "get hit": GetHit(),
    "get unique hit": GetUniqueHit(),
    "get miss": GetMiss(),
    "page hit": PageHit(),
    "page declared": PageDeclared(),
    "page miss": PageMiss(),
    "many hit": ManyHit(),
    "board after save": BoardAfterSave(),
    "save": Save(),
    "save between two GETs": SaveBetweenGets(),
    "uncached write": UncachedWrite(),
    "uncached read": UncachedRead(),
    "slow get": SlowGet(),
    "round trip": RoundTrip(),
}


def page(number: int) -> list[Any]:
    """Return the page of that number."""
    return list(page_of(number))


def page_of(number: int) -> QuerySet[Any]:
    """Return 20 flights of a day and an origin with their airlines; each number is another query."""
    rest, origin = divmod(number, len(ORIGINS))
    day, first = divmod(rest, MOST_PAGES)
    flights = Flight.objects.filter(origin=ORIGINS[origin], month=1, day=1 + day % FIRST_DAYS)
    return flights.select_related("airline").order_by("id")[first : first + PAGE_ROWS]  # type: ignore[no-any-return]


declared_page: Callable[[int], list[Any]] = page
"""The same as a declared read, which nobody else has."""

if LIBRARY == "perfkit":
    from perfkit.caching import cached_query

    declared_page = cached_query(ttl=TTL_SECONDS)(page_of)


def board() -> list[Any]:
    """Return the first departures of one airline."""
    return list(Departure.objects.filter(airline=AIRLINE).order_by("id")[:PAGE_ROWS])


def many(rows: int) -> list[Any]:
    """Return the first so many flights of one airport."""
    return list(Flight.objects.filter(origin="JFK").order_by("id")[:rows])


@cache
def flight_ids() -> list[int]:
    """Return every flight's key, asked for in a way that nobody caches."""
    return column("SELECT id FROM flights_flight ORDER BY id")


@cache
def station_codes() -> list[str]:
    """Return the codes of the first WARM_KEYS stations, in the same way."""
    return column(f"SELECT code FROM benchmark_station ORDER BY id LIMIT {WARM_KEYS}")


def column(sql: str) -> list[Any]:
    """Return what a SELECT of one column answers."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [value for (value,) in cursor.fetchall()]
