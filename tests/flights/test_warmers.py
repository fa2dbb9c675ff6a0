"""What the demo has in its cache before anybody asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.db.models import Avg
from django.test import Client, override_settings

from perfkit.caching import warm
from perfkit.conf import configured
from project.flights.models import Airline, Airport, Flight, Plane
from project.flights.statistics import airline_statistics, airport_statistics, popular_airports
from tests.flights.factories import make_flights

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _rows() -> Iterator[None]:
    cache.clear()
    make_flights(4)
    make_flights(2, number=20, destination_id=None, dest_code="SJU")
    with override_settings(PERFKIT={**configured(), "RATE_LIMIT_ENABLED": False}):
        yield
    cache.clear()


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_warmer_does_its_work(jobs: int) -> None:
    results = {result.name: result for result in warm(jobs=jobs)}
    assert {name: (result.wanted, result.error) for name, result in results.items()} == {
        "airlines": (2, ""),
        "airports": (4, ""),
        "delay-statistics": (4, ""),
        "flight-choices": (1, ""),
        "planes": (1, ""),
        "popular-airports": (3, ""),
    }
    assert all(result.entries + result.held == result.wanted for result in results.values())


def test_what_was_warmed_needs_no_query(client: Client, django_assert_num_queries: Any) -> None:
    warm()
    with django_assert_num_queries(0):
        assert Airline.objects.get(pk="UA").name == "United Air Lines Inc."
        assert Airport.objects.get(pk="JFK").name == "John F Kennedy Intl"
        assert Plane.objects.get(pk="N14228").seats == 149
        assert popular_airports() == ["IAH"]
        assert client.get("/api/airports/IAH/stats").json()["arrivals"]["flights"] == 4
        assert client.get("/api/airlines/UA/stats").json()["flights"] == 6
    with django_assert_num_queries(1):  # how many there are
        assert [each["code"] for each in client.get("/api/airports").json()["items"]] == ["EWR", "IAH", "JFK"]


def test_statistics_are_those_of_the_flights_that_are_there_now() -> None:
    assert airline_statistics("UA")["flights"] == 6
    make_flights(1, number=30, dep_delay=100)
    mean = Flight.objects.aggregate(mean=Avg("dep_delay"))["mean"]
    assert airline_statistics("UA")["mean_delay_minutes"] == round(float(mean), 1)
    assert airport_statistics("EWR")["departures"]["late"] == 1
    Flight.objects.all().delete()
    assert airport_statistics("EWR")["departures"]["flights"] == 0
