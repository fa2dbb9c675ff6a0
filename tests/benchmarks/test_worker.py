from __future__ import annotations

import pytest

from benchmarks.timetable.worker import digest, queries_of
from project.flights.models import Airline, Airport, Weather


def weather(*, wind_dir: int = 10, airport: Airport | None = None) -> Weather:
    row = Weather(pk=1, origin_id="JFK", wind_dir=wind_dir)
    if airport is not None:
        row.origin = airport
    return row


def test_it_finds_equal_what_has_the_same_values() -> None:
    assert digest([weather()]) == digest([weather()])
    assert digest(weather()) != digest([weather()])


def test_it_finds_other_values_different() -> None:
    """Django itself takes two rows of one key for equal."""
    assert weather(wind_dir=10) == weather(wind_dir=20)
    assert digest(weather(wind_dir=10)) != digest(weather(wind_dir=20))


def test_it_finds_different_what_is_joined_and_what_is_not() -> None:
    here, there = Airport(code="JFK", name="Kennedy"), Airport(code="JFK", name="Idlewild")
    assert digest(weather(airport=here)) == digest(weather(airport=here))
    assert len({digest(weather()), digest(weather(airport=here)), digest(weather(airport=there))}) == 3


@pytest.mark.django_db
def test_it_counts_what_reaches_the_database() -> None:
    assert queries_of(lambda: None) == 0
    assert queries_of(lambda: [Airline.objects.uncached().count() for _ in range(3)]) == 3
