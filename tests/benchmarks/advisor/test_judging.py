from __future__ import annotations

import pytest

from benchmarks.advisor.judging import Together, Verdict, best_indexes, share


def verdict(
    *, best: float = 10, advised: float = 10, milliseconds: tuple[float, float] | None = None
) -> Verdict:
    return Verdict("orders of user", "equality", 1_000, best, advised, milliseconds)


@pytest.mark.parametrize(
    ("advised", "is_served"), [(9, True), (10, True), (11, True), (11.1, False), (1_000, False)]
)
def test_it_serves_within_a_tenth_of_the_best_cost(advised: float, is_served: bool) -> None:
    assert verdict(advised=advised).is_served is is_served


@pytest.mark.parametrize(
    ("milliseconds", "is_served"),
    [(None, False), ((2.0, 2.2), True), ((2.0, 2.4), False), ((0.01, 0.05), True), ((2.0, 0.5), True)],
)
def test_it_serves_what_runs_as_fast_though_the_planner_thinks_otherwise(
    milliseconds: tuple[float, float] | None, is_served: bool
) -> None:
    judged = verdict(advised=50, milliseconds=milliseconds)
    assert not judged.is_near_by_cost
    assert judged.is_served is is_served


def test_it_harms_what_becomes_a_twentieth_dearer() -> None:
    assert not verdict(best=1_000, advised=1_050).is_harmed
    dearer = verdict(best=1_000, advised=1_051)
    assert dearer.is_harmed
    assert Together((verdict(), dearer), ()).harmed == ("orders of user",)


def test_it_tells_the_share_in_a_hundred() -> None:
    assert share([verdict(), verdict(), verdict(advised=20), verdict()]) == 75
    with pytest.raises(ValueError, match="no verdict"):
        share([])


def test_its_best_is_never_dearer_than_one_or_two_plain_columns() -> None:
    dearer = [
        name
        for name, found in best_indexes().items()
        if found["cost"] > found["cost_of_these"] * 1.02 or found["cost_of_these"] > found["cost_before"]
    ]
    assert dearer == []
