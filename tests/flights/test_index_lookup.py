from __future__ import annotations

from itertools import count

import pytest
from django.db import DatabaseError, connection

from project.flights.index_lookup import INDEX, LookupTimes, count_flights_of, measure_index_lookup
from project.flights.models import Flight
from tests.flights.factories import make_flights
from tests.flights.many import make_many_flights

pytestmark = pytest.mark.django_db(transaction=True)


def has_index() -> bool:
    with connection.cursor() as cursor:
        return INDEX in connection.introspection.get_constraints(cursor, Flight._meta.db_table)


def test_it_measures_both_and_keeps_the_index() -> None:
    make_flights(3)
    seconds = count()
    times = measure_index_lookup("N14228", rounds=3, clock=lambda: float(next(seconds)))
    assert times == LookupTimes(flights=3, seconds_with=1.0, seconds_without=1.0)
    assert has_index()


def test_it_looks_without_the_index_in_between() -> None:
    seen: list[bool] = []

    def clock() -> float:
        seen.append(has_index())
        return 0.0

    with pytest.raises(ZeroDivisionError):
        _ = measure_index_lookup("N14228", rounds=2, clock=clock).ratio
    assert seen == [True] * 4 + [False] * 4
    assert has_index()


def test_it_keeps_the_index_when_it_fails() -> None:
    def clock() -> float:
        if not has_index():
            raise ArithmeticError
        return 0.0

    with pytest.raises(ArithmeticError):
        measure_index_lookup(clock=clock)
    assert has_index()


def test_it_writes_nothing() -> None:
    make_flights(3)
    measure_index_lookup(rounds=1)
    assert count_flights_of("N14228") == 3


@pytest.mark.postgres
def test_it_times_both() -> None:
    make_many_flights()
    times = measure_index_lookup("N500")
    assert times.flights == count_flights_of("N500") > 0
    assert times.seconds_with > 0 < times.seconds_without
    assert times.ratio == times.seconds_without / times.seconds_with


@pytest.mark.postgres
def test_it_says_so_where_there_is_no_index() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER INDEX {INDEX} RENAME TO elsewhere")
    try:
        with pytest.raises(DatabaseError, match=INDEX):
            measure_index_lookup(rounds=1)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER INDEX elsewhere RENAME TO {INDEX}")
