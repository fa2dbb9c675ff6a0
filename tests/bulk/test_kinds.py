"""Which values fit which columns."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.bulk import kinds
from perfkit.bulk.refusals import summary


@given(bits=st.sampled_from([16, 32, 64]), values=st.lists(st.integers(-(2**65), 2**65), max_size=4))
def test_it_takes_integers_that_the_bits_hold(bits, values):
    kind = kinds.IntegerKind(bits)
    hold = [-(2 ** (bits - 1)) <= value < 2 ** (bits - 1) for value in values]
    assert kind.fits(values) == all(hold)
    for value, is_held in zip(values, hold, strict=True):
        if is_held:
            assert kind.mold(value) == value
        else:
            with pytest.raises(ValueError, match=f"integer of {bits} bits"):
                kind.mold(value)


def test_it_drops_spaces_that_do_not_fit_as_sql_does():
    kind = kinds.TextKind(3)
    assert kind.mold("ab   ") == "ab "
    assert not kind.fits(["abcd"])
    with pytest.raises(ValueError, match="3 characters"):
        kind.mold("ab d")


def test_it_takes_no_datetime_for_a_date():
    with pytest.raises(ValueError, match="not a date"):
        kinds.DateKind().mold(dt.datetime(2013, 1, 1, tzinfo=dt.UTC))


def test_it_tells_naive_moments_from_aware_ones():
    kind = kinds.TimestampKind(dt.UTC)
    aware = dt.datetime(2013, 1, 1, tzinfo=dt.UTC)
    assert kind.fits([aware])
    assert not kind.fits([aware, aware.replace(tzinfo=None)])
    assert kind.mold(aware.replace(tzinfo=None)) == aware


def test_it_takes_only_finite_decimals_as_they_are():
    assert kinds.DecimalKind().fits([Decimal("1.5")])
    assert not kinds.DecimalKind().fits([Decimal("1.5"), Decimal("Infinity")])


@pytest.mark.parametrize(
    ("value", "text"),
    [(255, "an int of 8 bits"), ("abc", "a str of 3 characters"), ([1], "a list of length 1"), (1.5, "a float"),
     (True, "a bool")],
)  # fmt: skip
def test_it_describes_a_value_without_telling_it(value, text):
    assert summary(value) == text
