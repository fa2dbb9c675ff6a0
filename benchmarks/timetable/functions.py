"""Functions whose answers are kept: the same for all, below the decorator of each entrant."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import wraps
from typing import Any, Final

from django.db.models import Avg, Count, Max, Q

from benchmarks.timetable.jobs import FIRST_DAYS, ORIGINS, Job
from benchmarks.timetable.models import Airline, Flight
from benchmarks.timetable.settings import CACHE_URL, LIBRARY, RECORDS, TTL_SECONDS

Function = Callable[[str, int], dict[str, Any]]

CALLS: Final = 20
"""Different calls that are to be hits."""


def statistics(origin: str, day: int) -> dict[str, Any]:
    """Return what is told of a day at an airport, by five queries that nobody keeps by themselves."""
    flights = Flight._base_manager.filter(
        origin=origin, month=1, day=1 + day % FIRST_DAYS, dep_delay__lt=10_000 + day
    )
    delays = flights.aggregate(mean=Avg("dep_delay"), most=Max("dep_delay"))
    late = flights.filter(dep_delay__gt=60).count()
    longest = flights.order_by("-air_time", "id").values_list("id", flat=True).first()
    airlines = list(
        flights.order_by("airline").values_list("airline").annotate(n=Count("id")).values_list("airline", "n")
    )
    names = Airline._base_manager.filter(Q(code__in=[code for code, _ in airlines])).order_by("code")
    return {
        "mean": round(delays["mean"] or 0, 3),
        "most": delays["most"],
        "late": late,
        "longest": longest,
        "airlines": dict(airlines),
        "names": [airline.name for airline in names],
    }


def _as_it_is(function: Function) -> Function:
    return function


def _by_perfkit(function: Function) -> Function:
    from perfkit.caching import cached

    declared = () if RECORDS else (Flight, Airline)
    return cached("statistics:{origin}:{day}", ttl=TTL_SECONDS, records=RECORDS, depends_on=declared)(
        function
    )


def _by_cacheops(function: Function) -> Function:
    from cacheops import cached_as

    return cached_as(Flight, Airline, timeout=TTL_SECONDS)(function)  # type: ignore[no-any-return]


def _by_django(function: Function) -> Function:
    """Cache-aside with Django's own cache on django-redis, as most projects write it."""
    from django.core.cache import cache

    @wraps(function)
    def kept(origin: str, day: int) -> dict[str, Any]:
        key = f"statistics:{origin}:{day}"
        answer = cache.get(key)
        if answer is None:
            answer = function(origin, day)
            cache.set(key, answer, TTL_SECONDS)
        return answer  # type: ignore[no-any-return]

    return kept


def _by_dogpile(function: Function) -> Function:
    from dogpile.cache import make_region

    region = make_region().configure(
        "dogpile.cache.redis", expiration_time=TTL_SECONDS, arguments={"url": CACHE_URL}
    )
    return region.cache_on_arguments()(function)  # type: ignore[no-any-return]


def _by_cashews(function: Function) -> Function:
    """Let coroutines answer, for it has nothing else; one loop goes on from call to call."""
    from cashews import Cache

    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # the queries of a miss are sent from the loop
    store = Cache()
    store.setup(CACHE_URL)
    loop = asyncio.new_event_loop()

    @store(ttl=timedelta(seconds=TTL_SECONDS), key="statistics:{origin}:{day}")  # type: ignore[untyped-decorator]
    async def kept(origin: str, day: int) -> dict[str, Any]:
        return function(origin, day)

    @wraps(function)
    def call(origin: str, day: int) -> dict[str, Any]:
        return loop.run_until_complete(kept(origin, day))

    return call


_DECORATORS: Final[Mapping[str, Callable[[Function], Function]]] = {
    "perfkit": _by_perfkit,
    "cacheops": _by_cacheops,
    "django": _by_django,
    "dogpile": _by_dogpile,
    "cashews": _by_cashews,
}


class FunctionHit(Job):
    """Calls of which every answer is kept."""

    def prepare(self, amount: int) -> None:
        self._kept = kept_statistics()
        for _ in range(2):  # a process may keep what it got from the server, the second time
            for number in range(CALLS):
                self.run(number)

    def run(self, number: int) -> object:
        return self._kept(ORIGINS[number % len(ORIGINS)], number % CALLS)


class FunctionMiss(Job):
    """Each call is one that nobody has made."""

    def prepare(self, amount: int) -> None:
        self._kept = kept_statistics()
        for number in range(-3, 0):
            self.run(number)

    def run(self, number: int) -> object:
        return self._kept(ORIGINS[number % len(ORIGINS)], 1_000 + number)


def kept_statistics() -> Function:
    """Return the function below the decorator of this process; there is one for all jobs."""
    global _kept  # noqa: PLW0603  # made when it is first wanted
    if _kept is None:
        _kept = _DECORATORS.get(LIBRARY, _as_it_is)(statistics)
    return _kept


_kept: Function | None = None

JOBS: Final[Mapping[str, Job]] = {"function hit": FunctionHit(), "function miss": FunctionMiss()}
