from __future__ import annotations

import pytest

from benchmarks.timetable.stage import (
    CACHE_DATABASES,
    CONTENDERS,
    CROWDED_DATABASES,
    DisagreementError,
    prepared,
)
from benchmarks.workers import Once, Remote


class Prepared(Remote):
    """A contender without a process: it says what its call would."""

    def __init__(self, call: Once) -> None:
        super().__init__(None, "page hit", 1)
        self.call = call
        self.amount = 0

    def prepare(self, amount: int) -> None:
        self.amount = amount

    def once(self) -> Once:
        return self.call


def test_it_tells_how_many_statements_each_sends() -> None:
    players = {"plain": Prepared(Once(2, 0.1, "rows")), "perfkit": Prepared(Once(0, 0.2, "rows"))}
    assert prepared(players, 10) == {"plain": 2, "perfkit": 0}
    assert [player.amount for player in players.values()] == [10, 10]


def test_it_refuses_to_time_who_returns_other_rows() -> None:
    players = {"plain": Prepared(Once(1, 0.1, "rows")), "perfkit": Prepared(Once(0, 0.2, "stale rows"))}
    with pytest.raises(DisagreementError, match="plain, perfkit return different rows in page hit"):
        prepared(players, 10)


def test_it_gives_each_process_that_caches_a_database_of_its_own() -> None:
    assert set(CACHE_DATABASES) == set(CONTENDERS)
    numbers = [*CACHE_DATABASES.values(), *CROWDED_DATABASES.values()]
    assert len(set(numbers)) == len(numbers)
    assert max(numbers) < 16, "A server has so many databases unless it was told otherwise."
