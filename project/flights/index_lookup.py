"""Measures an indexed lookup with its index and without, while the index is never lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from project.flights.models import Flight

INDEX = "flight_plane_time"
TAIL_NUMBER = "N14228"
ROUNDS = 7


@dataclass(frozen=True, slots=True)
class LookupTimes:
    """What one lookup takes, the median of its rounds."""

    flights: int
    seconds_with: float
    seconds_without: float

    @property
    def ratio(self) -> float:
        """How many times faster it is with the index."""
        return self.seconds_without / self.seconds_with


def count_flights_of(tail_number: str, using: str = DEFAULT_DB_ALIAS) -> int:
    """Return how often one aeroplane flew, the lookup that is measured."""
    return Flight.objects.using(using).filter(plane=tail_number).count()


def measure_index_lookup(
    tail_number: str = TAIL_NUMBER,
    *,
    rounds: int = ROUNDS,
    using: str = DEFAULT_DB_ALIAS,
    clock: Callable[[], float] = time.perf_counter,
) -> LookupTimes:
    """Time the lookup, drop its index in the same transaction, time it again, and roll all of that back.

    From the drop to the rollback nobody else can read the table: about `rounds` lookups without an index.

    Raises:
        django.db.ProgrammingError, django.db.OperationalError: There is no such index; migrate first.
    """
    connection = connections[using]

    def lookup() -> int:
        return count_flights_of(tail_number, using)

    with transaction.atomic(using=using):
        flights, seconds_with = _timed(lookup, rounds, clock)
        with connection.cursor() as cursor:
            cursor.execute(f"DROP INDEX {connection.ops.quote_name(INDEX)}")
        _, seconds_without = _timed(lookup, rounds, clock)
        transaction.set_rollback(True, using=using)
    return LookupTimes(flights, seconds_with, seconds_without)


def _timed(lookup: Callable[[], int], rounds: int, clock: Callable[[], float]) -> tuple[int, float]:
    """Return what the lookup answers, and the median of its times after one unmeasured round."""
    answer = lookup()
    times = []
    for _ in range(rounds):
        start = clock()
        lookup()
        times.append(clock() - start)
    return answer, median(times)
