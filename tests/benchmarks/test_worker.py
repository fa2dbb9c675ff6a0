from __future__ import annotations

import time

import pytest

from benchmarks.timetable.worker import digest, once, queries_of, timed
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


class Told:
    """A job that tells which of its methods were called; its disturbance alone takes time."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def disturb(self, number: int) -> None:
        self.calls.append(("disturb", number))
        time.sleep(0.2)

    def run(self, number: int) -> int:
        self.calls.append(("run", number))
        return number


def test_it_times_the_call_and_not_what_happens_before() -> None:
    job = Told()
    assert timed(job, 7) < 0.1
    assert job.calls == [("disturb", 7), ("run", 7)]


@pytest.mark.django_db
def test_it_tells_of_the_call_and_not_of_what_happens_before() -> None:
    class Asked(Told):
        def disturb(self, number: int) -> None:
            super().disturb(number)
            Airline.objects.uncached().count()

    job = Asked()
    told = once(job)
    assert (told.queries, told.seconds < 0.1, told.answer) == (0, True, digest(0))
    assert job.calls == [("disturb", 0), ("run", 0)]
