from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.benchmarking.timing import LEAST_FOR_P95, TURN_SECONDS, Way, p95, quantile, take_turns


class Clock:
    """Stands still but for the work that is done."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float) -> None:
        self.now += seconds


class TestTurns:
    def test_it_measures_each_way_as_often_and_leaves_the_first_round_out(self) -> None:
        clock, calls = Clock(), []
        ways = [
            Way(name, lambda name=name, seconds=seconds: (calls.append(name), clock.work(seconds)))
            for name, seconds in (("slow", 0.5), ("fast", 0.25))
        ]
        assert take_turns(ways, rounds=5, budget_seconds=100, clock=clock) == 6
        assert [way.turns_ms for way in ways] == [[500.0] * 5, [250.0] * 5]
        assert calls.count("slow") == calls.count("fast") == 6
        assert calls != ["slow", "fast"] * 6, "the order is drawn anew each round"

    def test_it_does_short_work_again_until_the_turn_is_long_enough(self) -> None:
        clock = Clock()
        way = Way("short", lambda: clock.work(TURN_SECONDS / 8))
        take_turns([way], rounds=1, budget_seconds=100, clock=clock)
        assert clock.now == pytest.approx(2 * TURN_SECONDS)
        assert way.median_ms == pytest.approx(TURN_SECONDS / 8 * 1000)

    def test_it_does_prepared_work_once_and_does_not_count_the_preparation(self) -> None:
        clock = Clock()
        way = Way("prepared", lambda: clock.work(0.001), prepare=lambda: clock.work(7))
        take_turns([way], rounds=3, budget_seconds=1000, clock=clock)
        assert way.turns_ms == pytest.approx([1.0] * 3)

    def test_it_ends_within_the_budget_but_has_at_least_one_figure(self) -> None:
        clock = Clock()
        way = Way("endless", lambda: clock.work(60))
        assert take_turns([way], rounds=9, budget_seconds=1, clock=clock) == 2
        assert way.turns_ms == [60_000.0]
        assert take_turns([way], rounds=9, budget_seconds=240, clock=clock) == 4


class TestQuantile:
    def test_it_is_one_of_the_values(self) -> None:
        values = list(range(1, 101))
        assert [quantile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]

    @given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
    def test_it_is_not_exceeded_by_that_share(self, values: list[float], share: float) -> None:
        found = quantile(values, share)
        assert found in values
        assert sum(value <= found for value in values) >= share * len(values) - 1e-4 * len(values)

    def test_it_is_none_of_nothing(self) -> None:
        with pytest.raises(ValueError, match="no values"):
            quantile([], 0.5)

    def test_it_says_nothing_of_the_slowest_of_few(self) -> None:
        assert p95([1.0] * (LEAST_FOR_P95 - 1)) is None
        assert p95([1.0] * LEAST_FOR_P95) == 1.0
