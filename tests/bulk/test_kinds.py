"""Which values fit which columns."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from enum import IntEnum, StrEnum
from math import isnan
from uuid import UUID

import pytest
from django.utils.safestring import SafeString
from hypothesis import given
from hypothesis import strategies as st

from perfkit.bulk import kinds
from perfkit.bulk.refusals import summary


@given(bits=st.sampled_from([16, 32, 64]), values=st.lists(st.integers(-(2**65), 2**65), max_size=4))
def test_it_takes_integers_that_the_bits_hold(bits, values):
    kind = kinds.IntegerKind(bits)
    hold = [-(2 ** (bits - 1)) <= value < 2 ** (bits - 1) for value in values]
    assert kind.checked(values) == (values if all(hold) else None)
    for value, is_held in zip(values, hold, strict=True):
        if is_held:
            assert kind.mold(value) == value
        else:
            with pytest.raises(ValueError, match=f"integer of {bits} bits"):
                kind.mold(value)


def test_it_drops_spaces_that_do_not_fit_as_sql_does():
    kind = kinds.TextKind(3)
    assert kind.mold("ab   ") == "ab "
    assert kind.checked(["abcd"]) is None
    with pytest.raises(ValueError, match="3 characters"):
        kind.mold("ab d")


def test_it_takes_no_datetime_for_a_date():
    with pytest.raises(ValueError, match="not a date"):
        kinds.DateKind().mold(dt.datetime(2013, 1, 1, tzinfo=dt.UTC))


def test_it_tells_naive_moments_from_aware_ones():
    kind = kinds.TimestampKind(dt.UTC)
    aware = dt.datetime(2013, 1, 1, tzinfo=dt.UTC)
    assert kind.checked([aware]) == [aware]
    assert kind.checked([aware, aware.replace(tzinfo=None)]) is None
    assert kind.mold(aware.replace(tzinfo=None)) == aware


def test_it_takes_only_finite_decimals_as_they_are():
    assert kinds.DecimalKind().checked([Decimal("1.5"), None]) == [Decimal("1.5"), None]
    assert kinds.DecimalKind().checked([Decimal("1.5"), Decimal("Infinity")]) is None


class Terminal(IntEnum):
    """An int of a class of its own."""

    A = 1


class Colour(StrEnum):
    """A str of a class of its own."""

    RED = "red"


class Folded(str):
    """Text that is equal to the same in capitals."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and str(self).lower() == str(other).lower()

    def __hash__(self) -> int:
        return hash(str(self).lower())


class OwnUUID(UUID):
    """A UUID of a class of its own."""


NOW = dt.datetime(2013, 1, 1, 12, 30, tzinfo=dt.UTC)
KINDS = [
    kinds.Kind(), kinds.IntegerKind(16), kinds.TextKind(), kinds.TextKind(40), kinds.BooleanKind(),
    kinds.FloatKind(), kinds.DecimalKind(), kinds.DateKind(), kinds.TimeKind(), kinds.TimestampKind(dt.UTC),
    kinds.DurationKind(), kinds.UUIDKind(), kinds.BinaryKind(), kinds.JSONKind(), kinds.AddressKind(),
]  # fmt: skip
LOOKALIKES = [
    1, True, 1.5, "1", b"1", bytearray(b"1"), Decimal(1), Decimal("NaN"), NOW, NOW.replace(tzinfo=None),
    NOW.date(), NOW.time(), NOW.time().replace(tzinfo=dt.UTC), dt.timedelta(1), UUID(int=1), "2013-01-01",
    "2013-01-01T00:00:00Z", "10:00:00Z", "P1D", str(UUID(int=1)), "YWI=", [1], {"a": 1}, "1.5", "true", Terminal.A,
    Colour.RED, Folded("a"), SafeString("a"), OwnUUID(int=1), "\ud800", Decimal("sNaN"), b"",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
@pytest.mark.parametrize("value", LOOKALIKES, ids=repr)
def test_what_it_takes_as_it_is_is_of_the_columns_own_type(kind, value):
    sent = kind.checked([None, value])
    if sent is not None:
        assert sent[0] is None
        assert sent[1] == value or (isnan(sent[1]) and isnan(value))
        assert type(sent[1]) in kind.exact


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
def test_what_cannot_even_be_looked_at_fits_nowhere(kind):
    released = memoryview(b"1")
    released.release()
    for value in (released, object()):
        assert kind.checked([value]) is None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
def test_null_fits_everywhere(kind):
    assert kind.checked([None, None]) == [None, None]
    assert kind.checked(()) == []


def test_an_int_that_has_a_name_goes_as_the_int_that_it_is():
    (sent,) = kinds.IntegerKind(16).checked([Terminal.A])
    assert (type(sent), sent) == (int, 1)


@given(st.one_of(st.integers(-(2**70), 2**70), st.just(10**400)))
def test_an_int_goes_into_a_column_of_floats_as_the_float_that_python_makes_of_it(value):
    sent = kinds.FloatKind().checked([value])
    try:
        expected = float(value)
    except OverflowError:
        assert sent is None
    else:
        assert sent is None or (type(sent[0]), sent[0]) == (float, expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [(255, "an int of 8 bits"), ("abc", "a str of 3 characters"), ([1], "a list of length 1"), (1.5, "a float"),
     (True, "a bool")],
)  # fmt: skip
def test_it_describes_a_value_without_telling_it(value, text):
    assert summary(value) == text
