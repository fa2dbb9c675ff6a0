from __future__ import annotations

import pytest

from perfkit.api.limiting.fields import fields_of
from perfkit.limiting.rules import Standing
from perfkit.rates import Rate, rate_of


def told(text: str, remaining: int, refill_us: int) -> tuple[Rate, Standing]:
    return rate_of(text), Standing(True, remaining, refill_us, 0)


@pytest.mark.parametrize(("refill_us", "seconds"), [(0, 0), (1, 1), (1_000_000, 1), (1_000_001, 2)])
def test_it_counts_whole_seconds_up(refill_us: int, seconds: int) -> None:
    assert fields_of([told("5/minute", 3, refill_us)]) == {
        "RateLimit-Policy": '"5/minute";q=5;w=60',
        "RateLimit": f'"5/minute";r=3;t={seconds}',
        "RateLimit-Limit": "5",
        "RateLimit-Remaining": "3",
        "RateLimit-Reset": str(seconds),
    }


def test_it_lists_each_policy_once_and_tells_of_the_tightest() -> None:
    fields = fields_of([told("5/minute", 3, 1), told("9/hour burst 2", 1, 5_000_000), told("5/minute", 2, 1)])
    assert fields["RateLimit-Policy"] == '"9/hour burst 2";q=9;w=3600;perfkit-burst=2, "5/minute";q=5;w=60'
    assert fields["RateLimit"] == '"9/hour burst 2";r=1;t=5'
