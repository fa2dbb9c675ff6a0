from __future__ import annotations

import pytest

from project.flights.models import Flight
from project.flights.search import flight_condition
from tests.flights.factories import make_flights

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def flights(db: None) -> None:
    make_flights(2)  # UA1 and UA2, N14228, from EWR to IAH
    make_flights(1, number=1545, airline_id="AA", tailnum="D942DN", plane_id=None, dest_code="PSE")


def found(text: str) -> list[int]:
    return sorted(Flight.objects.filter(flight_condition(text)).values_list("number", flat=True))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1545", [1545]),
        ("2", [2]),
        ("ua2", [2]),
        ("AA2", []),
        ("AA1545", [1545]),
        ("N14228", [1, 2]),
        ("n142", [1, 2]),
        ("D942DN", [1545]),
        ("942", []),
        ("PSE", [1545]),
        ("EWR", [1, 2, 1545]),
        ("UA", [1, 2]),
        ("2013-01-01", [1, 2, 1545]),
        ("2013-01-02", []),
        ("2013-02-30", []),
        ("9999-12-31", []),
        ("32768", []),
        ("99999999999999999999", []),
        ("9" * 5_000, []),  # more digits than Python reads
        ("0" * 5_000 + "77", []),
        ("٣", []),
        ("%", []),
        ("_14228", []),
    ],
)
def test_it_finds_what_was_meant(text: str, numbers: list[int]) -> None:
    assert found(text) == numbers


def test_it_takes_a_day_by_the_clocks_of_new_york() -> None:
    make_flights(1, number=77, time_hour=Flight.objects.first().time_hour.replace(day=2, hour=4))
    assert 77 in found("2013-01-01")  # 4 o'clock UTC is 11 in the evening before
