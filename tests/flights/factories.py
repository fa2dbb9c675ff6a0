"""A few flights that look like the real ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model

from project.flights.models import Airline, Airport, Flight, Plane, StatusReport

FIRST_HOUR = datetime(2013, 1, 1, 10, tzinfo=UTC)  # five o'clock in New York


def make_reference_rows() -> None:
    """One airline, three airports and one plane; a second call changes nothing."""
    Airline.objects.get_or_create(code="UA", defaults={"name": "United Air Lines Inc."})
    Airline.objects.get_or_create(code="AA", defaults={"name": "American Airlines Inc."})
    for code, name in (("JFK", "John F Kennedy Intl"), ("EWR", "Newark Liberty Intl"), ("IAH", "Houston")):
        Airport.objects.get_or_create(
            code=code,
            defaults={
                "name": name,
                "latitude": 40.6,
                "longitude": -73.8,
                "altitude": 13,
                "utc_offset": -5,
                "dst": "A",
                "tzone": "America/New_York",
            },
        )
    Plane.objects.get_or_create(
        tailnum="N14228",
        defaults={
            "year": 1999,
            "type": "Fixed wing multi engine",
            "manufacturer": "BOEING",
            "model": "737-824",
            "engines": 2,
            "seats": 149,
            "engine": "Turbo-fan",
        },
    )


def make_flights(count: int, **values: Any) -> list[Flight]:
    """Make flights an hour apart, numbered from 1 (or `number`); any column can be given for all of them."""
    make_reference_rows()
    first = values.pop("number", 1)
    flights = []
    for index in range(count):
        hour = values.get("time_hour", FIRST_HOUR + timedelta(hours=index))
        columns = {
            "year": hour.year,
            "month": hour.month,
            "day": hour.day,
            "dep_time": 517,
            "sched_dep_time": 515,
            "dep_delay": 2,
            "arr_time": 830,
            "sched_arr_time": 819,
            "arr_delay": 11,
            "airline_id": "UA",
            "number": first + index,
            "plane_id": "N14228",
            "tailnum": "N14228",
            "origin_id": "EWR",
            "destination_id": "IAH",
            "dest_code": "IAH",
            "air_time": 227,
            "distance": 1400,
            "hour": 5,
            "minute": 15,
            "time_hour": hour,
        }
        flights.append(Flight(**columns | values))
    return Flight.objects.bulk_create(flights)


def make_reports(flight: Flight, count: int) -> list[StatusReport]:
    """Make delays, each reported by another user."""
    users = [get_user_model().objects.create_user(f"reporter-{flight.pk}-{index}") for index in range(count)]
    return StatusReport.objects.bulk_create(
        StatusReport(flight=flight, author=user, kind=StatusReport.Kind.DELAY, delay_minutes=10)
        for user in users
    )
