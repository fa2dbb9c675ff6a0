"""What the demo keeps in its cache: what every page reads, and what takes a walk through a year of flights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.db.models import QuerySet

from perfkit.api.pages import DEFAULT_PAGE_SIZE
from perfkit.caching import Answer, warmer
from perfkit.loading import from_schema
from project.flights.models import Airline, Airport, Flight, Plane
from project.flights.schemas import AirportOut
from project.flights.statistics import (
    airline_statistics,
    airport_statistics,
    counted_airports,
    flight_choices,
    popular_airports,
)


@warmer("airlines")
def airlines() -> QuerySet[Airline]:
    """All airlines."""
    return Airline.objects.all()


@warmer("airports")
def airports() -> Iterator[Any]:
    """All airports, and the first page of their list."""
    yield Airport.objects.all()
    yield Answer(from_schema(counted_airports(), AirportOut)[:DEFAULT_PAGE_SIZE])  # as the API reads it


@warmer("planes")
def planes() -> QuerySet[Plane]:
    """All aeroplanes."""
    return Plane.objects.all()


@warmer("popular-airports")
def popular() -> Iterator[Any]:
    """Which airports are popular, their rows and their statistics."""
    yield popular_airports
    codes = popular_airports()
    yield Airport.objects.filter(pk__in=codes)
    for code in codes:
        yield partial(airport_statistics, code)


@warmer("flight-choices")
def choices() -> Callable[[], Any]:
    """All that flights can be chosen by on their page."""
    return flight_choices


@warmer("delay-statistics")
def delay_statistics() -> Iterator[Any]:
    """How punctual each airline and each airport with flights was."""
    for code in Airline.objects.values_list("pk", flat=True):
        yield partial(airline_statistics, code)
    flights = Flight.objects.exclude(destination=None)  # those of which there are statistics
    origins, destinations = [
        set(flights.values_list(field, flat=True).distinct()) for field in ("origin", "destination")
    ]
    for code in sorted(origins | destinations):
        yield partial(airport_statistics, code)
