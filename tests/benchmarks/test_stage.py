from __future__ import annotations

import pytest

from benchmarks.timetable.entrants import CACHE_DATABASES
from benchmarks.timetable.stage import DisagreementError, NoHitError, prepared, require_hits
from benchmarks.workers import Once, Remote


class Prepared(Remote):
    """An entrant without a process: it says what its call would."""

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


def test_it_refuses_to_time_a_hit_that_is_none() -> None:
    require_hits({"plain": 2, "perfkit, strict": 0, "cacheops": 0})
    with pytest.raises(NoHitError, match="perfkit, strict and cacheops asked"):
        require_hits({"plain": 0, "perfkit, strict": 1, "cacheops": 2, "cachalot": 0})


def test_it_gives_each_process_that_caches_a_database_of_its_own() -> None:
    assert len(set(CACHE_DATABASES)) == len(CACHE_DATABASES)
    assert max(CACHE_DATABASES) < 16, "A server has so many databases unless it was told otherwise."
