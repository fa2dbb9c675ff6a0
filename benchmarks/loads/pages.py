"""Pages of flights, asked of Django's handler in process: made each time, kept by Django, kept by perfkit."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any, Final

from django.conf import settings
from django.core.cache import cache
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIRequest
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.views.decorators.cache import cache_page

from benchmarks.figures import Figure
from benchmarks.loads.scene import Section
from benchmarks.rounds import Contender, play
from perfkit.caching import cache_response, token_scope
from perfkit.conf import configured
from project.flights.models import Flight

SIZES: Final = (50, 200, 1_000)
"""Flights on a page: 8, 32 and 160 KB of JSON."""

TURN_FLIGHTS: Final = 2_000
LEAST_TIMES: Final = 10
"""So many flights, and so many pages at least, in one turn, so that it is long enough to be timed."""
TTL: Final = 3_600
GZIP: Final = "django.middleware.gzip.GZipMiddleware"
GOAL: Final = 3.0

MODES: Final = {"perfkit": "request", "perfkit, strict": "strict", "perfkit, shared only": "off"}


def listed(request: HttpRequest, size: int) -> HttpResponse:
    """Answer with flights, their airlines and their airports."""
    flights = Flight.objects.select_related("airline", "origin").order_by("pk")[:size]
    return JsonResponse(
        [
            {
                "id": flight.pk,
                "airline": {"code": flight.airline.code, "name": flight.airline.name},
                "origin": {"code": flight.origin.code, "name": flight.origin.name},
                "destination": flight.dest_code,
                "number": flight.number,
                "scheduled": flight.time_hour,
                "delay": flight.dep_delay,
            }
            for flight in flights
        ],
        safe=False,
    )


urlpatterns = [
    path("plain/<int:size>", listed),
    path("django/<int:size>", cache_page(TTL)(listed)),
    path("perfkit/<int:size>", cache_response(ttl=TTL)(listed)),
]


def pages(*, rounds: int, seconds: float) -> Section:
    """Ask for each page in turns; say how many times faster perfkit is than Django's cache.

    Django's cache is that of `CACHES["default"]`, on the same server as perfkit's.
    Where the client takes gzip, Django's middleware compresses what Django's cache has, and finds perfkit's
    compressed already.
    """
    ways: list[tuple[str, dict[str, str], list[str]]] = [
        ("plain text", {}, []),
        ("gzip", {"Accept-Encoding": "gzip"}, [GZIP]),
    ]
    share_seconds = seconds / len(ways) / len(SIZES)
    sections = [_asked(size, *way, rounds=rounds, seconds=share_seconds) for way in ways for size in SIZES]
    return Section(
        [line for section in sections for line in section.lines],
        [figure for section in sections for figure in section.figures],
    )


def _asked(
    size: int,
    title: str,
    headers: dict[str, str],
    middleware: list[str],
    *,
    rounds: int,
    seconds: float,
) -> Section:
    watched = {**configured(), "CACHE_MODELS": ["flights.Flight"]}
    times = max(LEAST_TIMES, TURN_FLIGHTS // size)
    with override_settings(
        ROOT_URLCONF=__name__, MIDDLEWARE=middleware, ALLOWED_HOSTS=["*"], PERFKIT=watched
    ):
        handler = BaseHandler()
        handler.load_middleware()
        factory = RequestFactory(headers=headers)
        cache.clear()
        contenders = [
            Contender(
                "no cache", _repeated(handler, factory, f"/plain/{size}", times=times), _mode("request")
            ),
            Contender(
                "Django's cache_page",
                _repeated(handler, factory, f"/django/{size}", times=times),
                _mode("request"),
            ),
        ]
        contenders += [
            Contender(name, _repeated(handler, factory, f"/perfkit/{size}", times=times), _mode(mode))
            for name, mode in MODES.items()
        ]
        for contender in contenders:  # each keeps its page
            contender.prepare()
            contender.run()
            with CaptureQueriesContext(connection) as queries:
                contender.run()
            if bool(queries) != (contender is contenders[0]):
                raise RuntimeError(f"{contender.name} has asked the database {len(queries)} times.")
        play(contenders, rounds=rounds, budget_seconds=seconds)
        _mode("request")()
    plain, django, *own = contenders
    lines: list[tuple[str, ...]] = [
        (
            f"page of {size:,} flights, {title}: {each.name}",
            f"{1e6 / each.rate:,.0f}",
            f"{each.rate / plain.rate:.2f}",
        )
        for each in contenders
    ]
    figures = [
        Figure(
            f"page of {size:,} flights, {title}: Django's cache / {each.name}",
            _times(each, django),
            "times",
            goal,
            "higher",
        )
        for each, goal in zip(own, [GOAL, None, None], strict=True)
    ]
    return Section(lines, figures)


def _times(each: Contender, other: Contender) -> float:
    """Return how many times faster one is, by the median of the rounds."""
    return statistics.median(mine / theirs for mine, theirs in zip(each.rates, other.rates, strict=True))


def _mode(mode: str) -> Callable[[], None]:
    def prepare() -> None:
        settings.PERFKIT = {**configured(), "CACHE_MEMORY": mode}

    return prepare


def _repeated(handler: BaseHandler, factory: RequestFactory, url: str, *, times: int) -> Callable[[], int]:
    environ: dict[str, Any] = factory.get(url).environ

    def run() -> int:
        for _ in range(times):
            with token_scope():  # as each request is one
                response = handler.get_response(WSGIRequest(environ.copy()))
                if response.status_code != 200:
                    raise RuntimeError(f"{url} has answered {response.status_code}.")
        return times

    return run
