"""When a failed call is tried again, and what `Retry-After` says."""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.errors import ModelUnavailableError
from perfkit.inference import CallRetries
from perfkit.inference.retries import UNREACHABLE, retry_after_seconds

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def busy(status: int | None = 500, seconds: float | None = None) -> ModelUnavailableError:
    return ModelUnavailableError("answers so", status, seconds)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        ("9" * 5000, 999_999_999.0),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 90.0),
        ("Sun, 01 Mar 2026 13:01:30 +0100", 90.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("Sunday, 01-Mar-26 12:00:05 GMT", 5.0),
        ("Sun, 01 Mar 2026 12:00:05 -0000", 5.0),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("Sun, 01 Mar 2026 99:00:00 GMT", None),
        ("Sun, 01 Mar 2026 12:00:00 +999999999", None),
        ("Sun, 01 Mar 99999999 12:00:00 GMT", None),
    ],
)
def test_it_reads_seconds_and_dates(text: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(text, now=NOW) == seconds


@given(st.integers(0, 10**6))
def test_it_reads_every_date(seconds: int) -> None:
    text = format_datetime(NOW + dt.timedelta(seconds=seconds), usegmt=True)
    assert retry_after_seconds(text, now=NOW) == seconds


@given(st.text(st.characters(max_codepoint=127), max_size=40))
def test_it_takes_any_text(text: str) -> None:
    told = retry_after_seconds(text, now=NOW)
    assert told is None or told >= 0


def test_the_pauses_double_up_to_the_longest() -> None:
    retries = CallRetries(attempts=6, backoff_seconds=1, longest_seconds=5, chance=lambda: 0.0)
    assert [retries.pause_seconds(busy(), failures=each) for each in range(1, 7)] == [1, 2, 4, 5, 5, None]


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 5))
def test_by_lot_they_are_shortened_by_up_to_a_half(chance: float, failures: int) -> None:
    retries = CallRetries(attempts=6, backoff_seconds=1, longest_seconds=100, chance=lambda: chance)
    whole = 2.0 ** (failures - 1)
    assert whole / 2 <= retries.pause_seconds(busy(), failures=failures) <= whole


def test_what_the_server_says_is_waited_for_if_it_is_not_too_long() -> None:
    retries = CallRetries(longest_seconds=30)
    assert retries.pause_seconds(busy(429, 30.0), failures=1) == 30.0
    assert retries.pause_seconds(busy(503, 0.0), failures=1) == 0.0
    assert retries.pause_seconds(busy(429, 30.5), failures=1) is None


def test_only_what_has_done_nothing_is_tried_again() -> None:
    retries = CallRetries()
    assert retries.pause_seconds(ModelUnavailableError(UNREACHABLE), failures=1) is not None
    assert retries.pause_seconds(ModelUnavailableError("has not answered in time"), failures=1) is None
    assert CallRetries(attempts=1).pause_seconds(busy(), failures=1) is None
