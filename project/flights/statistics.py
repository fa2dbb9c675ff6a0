"""How punctual airports and airlines were: walks through a year of flights, kept until a flight is written."""

from __future__ import annotations

from typing import Final, TypedDict

from django.db.models import Avg, Count, Q, QuerySet

from perfkit.caching import TTL, cached
from perfkit.loading import RelatedCount
from project.flights.models import Airline, Airport, Flight

LATE_MINUTES: Final = 15
POPULAR: Final = 10


class Traffic(TypedDict):
    """Some flights: how many there were, how many were cancelled or late, and by how much on the mean."""

    flights: int
    cancelled: int
    late: int
    mean_delay_minutes: float | None


class AirportStatistics(TypedDict):
    """What left an airport, and what came to it out of New York."""

    departures: Traffic
    arrivals: Traffic


@cached("airport:stats:{code}", ttl=TTL.LONG)
def airport_statistics(code: str) -> AirportStatistics:
    """Return how punctual an airport was.

    Queries: none where the answer is cached, else two.
    """
    return {
        "departures": traffic(Flight.objects.filter(origin=code), delay="dep_delay"),
        "arrivals": traffic(Flight.objects.filter(dest_code=code), delay="arr_delay"),
    }


@cached("airline:stats:{code}", ttl=TTL.LONG)
def airline_statistics(code: str) -> Traffic:
    """Return how punctual an airline left.

    Queries: none where the answer is cached, else one.
    """
    return traffic(Flight.objects.filter(airline=code), delay="dep_delay")


@cached("airports:popular", ttl=TTL.LONG)
def popular_airports() -> list[str]:
    """Return the codes of the airports that most flights went to, the most popular first.

    Queries: none where the answer is cached, else one.
    """
    counted = Flight.objects.exclude(destination=None).values("destination").annotate(flights=Count("pk"))
    return [each["destination"] for each in counted.order_by("-flights", "destination")[:POPULAR]]


@cached("flights:choices", ttl=TTL.LONG)
def flight_choices() -> dict[str, list[tuple[str, str]]]:
    """Return the airlines, origins and destinations that flights have, each as code and name, by code.

    A destination that the reference tables lack has no name.

    Queries: none where the answer is cached, else up to five.
    """
    airlines = dict(Airline.objects.values_list("code", "name"))
    airports = dict(Airport.objects.values_list("code", "name"))
    named = {"airline": airlines, "origin": airports, "destination": airports}
    columns = {"airline": "airline_id", "origin": "origin_id", "destination": "dest_code"}
    return {
        name: [
            (code, named[name].get(code, ""))
            for code in Flight.objects.order_by(column).values_list(column, flat=True).distinct()
        ]
        for name, column in columns.items()
    }


def counted_airports() -> QuerySet[Airport]:
    """Return the airports by code, each with `departure_count` and `arrival_count`.

    Their rows are cached with these counts: counting takes longer than all else that is shown.
    """
    counts = {"departure_count": RelatedCount("departures"), "arrival_count": RelatedCount("arrivals")}
    return Airport.objects.annotate(**counts).order_by("code")


def traffic(flights: QuerySet[Flight], *, delay: str) -> Traffic:
    """Return how punctual flights were; `delay` is the column that says it.

    Queries: one.
    """
    counted = flights.aggregate(
        flights=Count("pk"),
        cancelled=Count("pk", filter=Q(dep_time=None)),
        late=Count("pk", filter=Q(**{f"{delay}__gt": LATE_MINUTES})),
        mean=Avg(delay),
    )
    return {
        "flights": counted["flights"],
        "cancelled": counted["cancelled"],
        "late": counted["late"],
        "mean_delay_minutes": None if counted["mean"] is None else round(float(counted["mean"]), 1),
    }
