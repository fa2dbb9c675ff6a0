from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.errors import RateError
from perfkit.rates import LONGEST_SECONDS, MOST, Rate, rate_of


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("5/hour", Rate(5, 3600)),
        ("100/minute", Rate(100, 60)),
        ("10/30s", Rate(10, 30)),
        ("1/s", Rate(1, 1)),
        ("1/sec", Rate(1, 1)),
        ("2 / 5 minutes", Rate(2, 300)),
        ("7/m", Rate(7, 60)),
        ("7/min", Rate(7, 60)),
        ("1000/Day", Rate(1000, 86_400)),
        ("3/2h", Rate(3, 7200)),
        ("  9/d ", Rate(9, 86_400)),
        ("100/minute burst 20", Rate(100, 60, burst=20)),
    ],
)
def test_it_reads_what_people_write(text: str, rate: Rate) -> None:
    assert rate_of(text) == rate


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "5",
            "/hour",
            "5/",
            "5/fortnight",
            "5/hour/day",
            "-5/hour",
            "5.5/hour",
            "5/hours burst",
            "x/hour",
        ),
        *(
            "0/hour",
            "5/0s",
            "5/hour burst 0",
            "5/hour burst 6",
            "5/400d",
            f"{MOST + 1}/s",
            "\u0665/hour",
            "5/ss",
        ),
    ],
)
def test_it_refuses_what_is_no_rate(text: str) -> None:
    with pytest.raises(RateError, match="is no rate") as caught:
        rate_of(text)
    assert caught.value.rate == text
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "numbers", [(0, 1), (MOST + 1, 1), (1, 0), (1, LONGEST_SECONDS + 1), (5, 1, 0), (5, 1, 6)]
)
def test_it_has_no_number_out_of_range(numbers: tuple[int, ...]) -> None:
    with pytest.raises(RateError):
        Rate(*numbers)


@given(
    limit=st.integers(1, MOST),
    period_seconds=st.integers(1, LONGEST_SECONDS) | st.sampled_from([60, 3600, 86_400, 7200, 90]),
    share=st.none() | st.floats(0, 1),
)
def test_it_is_written_as_it_is_read(limit: int, period_seconds: int, share: float | None) -> None:
    rate = Rate(limit, period_seconds, None if share is None else max(1, int(limit * share)))
    assert rate_of(str(rate)) == rate


def test_it_is_written_with_the_longest_unit() -> None:
    assert list(map(str, (Rate(5, 3600), Rate(5, 60), Rate(10, 90), Rate(10, 7200, 2)))) == [
        "5/hour",
        "5/minute",
        "10/90s",
        "10/2h burst 2",
    ]
