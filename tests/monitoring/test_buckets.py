from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.monitoring.buckets import (
    BOUNDS,
    COARSE,
    STANDARD,
    STANDARD_SECONDS,
    bucket_of,
    coarse,
    middle,
    quantiles,
    standard,
)

durations = st.floats(min_value=BOUNDS[0], max_value=BOUNDS[-1])


def ranked(values: list[float], share: float) -> float:
    return sorted(values)[max(1, ceil(share * len(values))) - 1]


def counted(values: list[float]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for value in values:
        counts[bucket_of(value)] = counts.get(bucket_of(value), 0) + 1
    return counts


@given(durations)
def test_a_duration_is_at_most_2_percent_from_the_middle_of_its_bucket(microseconds: float) -> None:
    bucket = bucket_of(microseconds)
    if bucket:
        assert BOUNDS[bucket - 1] < microseconds <= BOUNDS[bucket]
        assert middle(bucket) == pytest.approx(microseconds, rel=0.02)
        assert middle(coarse(bucket), width=COARSE) == pytest.approx(microseconds, rel=0.09)


@given(durations)
def test_a_standard_bound_counts_exactly_what_is_not_longer(microseconds: float) -> None:
    number = standard(bucket_of(microseconds))
    assert microseconds <= STANDARD_SECONDS[number] * 1_000_000
    assert number == 0 or microseconds > STANDARD_SECONDS[number - 1] * 1_000_000


def test_the_standard_bounds_are_round() -> None:
    assert STANDARD_SECONDS[:5] == (0.00001, 0.000025, 0.00005, 0.0001, 0.00025)
    assert STANDARD_SECONDS[-1] == 100_000
    assert len(STANDARD) == len(STANDARD_SECONDS) == 31


@given(st.lists(durations, min_size=1, max_size=200), st.sampled_from([0.01, 0.5, 0.9, 0.95, 0.99, 1.0]))
def test_a_quantile_is_within_2_percent_of_the_duration_of_its_rank(
    values: list[float], share: float
) -> None:
    [found] = quantiles(counted(values), [share])
    exact = ranked(values, share)
    assert found == pytest.approx(exact, rel=0.02) or exact == BOUNDS[0]


def test_it_has_no_quantile_of_nothing() -> None:
    assert quantiles({}, [0.5, 0.95]) == [None, None]
    assert quantiles({3: 0}, [0.5]) == [None]


def test_what_is_longer_than_all_bounds_has_a_bucket_too() -> None:
    assert bucket_of(10**12) == len(BOUNDS)
    assert quantiles({bucket_of(10**12): 1}, [0.5]) == [BOUNDS[-1]]
    assert standard(len(BOUNDS)) == len(STANDARD)
