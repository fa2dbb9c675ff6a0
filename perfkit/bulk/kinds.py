"""What fits a column: types and ranges, checked for a whole column at once, in C. Pure."""

from __future__ import annotations

import datetime as dt
import decimal
import ipaddress
import uuid
from collections.abc import Sequence
from functools import cache
from types import NoneType
from typing import Annotated, Any, ClassVar, Final, TypeVar

import msgspec

T = TypeVar("T")

UNPARSED: Final = (
    bytes,
    decimal.Decimal,
    dt.date,
    dt.datetime,
    dt.time,
    dt.timedelta,
    uuid.UUID,
)
"""Types for which text does not stand here; Django's fields read it in their own way."""


class Kind:
    """How values of one column look when they are sent; this one takes whatever Django prepared.

    Attributes:
        exact: Types whose values go out as they are, if they fit.
        family: Which of Django's fields mean the same by these types.
        is_strict: Whether msgspec would return a value of a subclass as it is, which may compare in its own way.
    """

    exact: ClassVar[frozenset[type]] = frozenset()
    family: ClassVar[str] = "any"
    is_strict: ClassVar[bool] = False

    def __init__(self, fitting: Any = None) -> None:
        """Take values that `fitting`, a type as msgspec reads it, describes, and None."""
        self._fitting = list[fitting | None] if fitting else list[None]

    def checked(self, values: Sequence[Any]) -> Sequence[Any] | None:
        """Return `values` as they are sent, or None where one of them may not fit.

        Of a subclass of int comes the int that it is, of a number that stands for a float the float,
        and of what is like bytes the bytes.
        """
        if self.is_strict and not {*map(type, values)} <= self.exact | {NoneType}:
            return None
        try:
            return msgspec.convert(values, self._fitting, builtin_types=UNPARSED)
        except (msgspec.ValidationError, ValueError):  # the latter of what it cannot even look at
            return None

    def mold(self, value: Any) -> Any:
        """Return `value`, which Django prepared, as it is sent.

        Raises:
            ValueError: It does not fit; the text says what would, never the value.
        """
        return value


class IntegerKind(Kind):
    """An integer of so many bits; binary COPY would silently wrap a larger one."""

    exact = frozenset({int})
    family = "integer"

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.least = -(1 << bits - 1)
        self.most = (1 << bits - 1) - 1
        super().__init__(_integers(self.least, self.most))

    def mold(self, value: Any) -> int:
        whole = int(value)
        if not self.least <= whole <= self.most:
            raise ValueError(f"does not fit an integer of {self.bits} bits")
        return whole


class TextKind(Kind):
    """Text, where `length` is a number of at most so many characters, spaces at its end aside."""

    exact = frozenset({str})
    family = "text"
    is_strict = True

    def __init__(self, length: int | None = None, *, cuts_spaces: bool = True) -> None:
        super().__init__(_texts(length))
        self.length = length
        self.cuts_spaces = cuts_spaces

    def mold(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("is not text")  # noqa: TRY004  # one class for all that does not fit
        text = str.__str__(value)  # of a member of TextChoices: its value
        if self.length is not None and len(text) > self.length:
            if len(text.rstrip(" ")) > self.length:
                raise ValueError(f"does not fit {self.length} characters")
            return text[: self.length] if self.cuts_spaces else text  # SQL drops spaces that do not fit
        return text


class BooleanKind(Kind):
    """True or false."""

    exact = frozenset({bool})
    family = "boolean"

    def __init__(self) -> None:
        super().__init__(bool)

    def mold(self, value: Any) -> bool:
        return _only(bool, value)


class FloatKind(Kind):
    """A double; NaN and infinities are values like others."""

    exact = frozenset({float})
    family = "float"

    def __init__(self) -> None:
        super().__init__(float)

    def mold(self, value: Any) -> float:
        return float(value)


class DecimalKind(Kind):
    """A number that PostgreSQL rounds to the column's places; Django refuses NaN and infinities."""

    exact = frozenset({decimal.Decimal})
    family = "decimal"

    def __init__(self) -> None:
        super().__init__(decimal.Decimal)

    def checked(self, values: Sequence[Any]) -> Sequence[Any] | None:
        decimals = super().checked(values)
        if decimals is None or not all(each.is_finite() for each in decimals if each is not None):
            return None
        return decimals

    def mold(self, value: Any) -> decimal.Decimal:
        return value if type(value) is decimal.Decimal else decimal.Decimal(value)


class DateKind(Kind):
    """A day; a datetime is not one until Django has made it one."""

    exact = frozenset({dt.date})
    family = "date"

    def __init__(self) -> None:
        super().__init__(dt.date)

    def mold(self, value: Any) -> dt.date:
        if isinstance(value, dt.datetime):
            raise ValueError("is not a date")  # noqa: TRY004
        return _only(dt.date, value)


class TimeKind(Kind):
    """A time of day without an offset, which the column would drop."""

    exact = frozenset({dt.time})
    family = "time"

    def __init__(self) -> None:
        super().__init__(Annotated[dt.time, msgspec.Meta(tz=False)])

    def mold(self, value: Any) -> dt.time:
        return _only(dt.time, value).replace(tzinfo=None)


class TimestampKind(Kind):
    """A moment; naive ones, which Django leaves naive under USE_TZ = False, are local to the connection."""

    exact = frozenset({dt.datetime})
    family = "timestamp"

    def __init__(self, timezone: dt.tzinfo) -> None:
        super().__init__(Annotated[dt.datetime, msgspec.Meta(tz=True)])
        self.timezone = timezone

    def mold(self, value: Any) -> dt.datetime:
        moment = _only(dt.datetime, value)
        return moment if moment.tzinfo else as_postgresql_reads(moment, self.timezone)


class DurationKind(Kind):
    """A length of time."""

    exact = frozenset({dt.timedelta})
    family = "duration"

    def __init__(self) -> None:
        super().__init__(dt.timedelta)

    def mold(self, value: Any) -> dt.timedelta:
        return _only(dt.timedelta, value)


class UUIDKind(Kind):
    """A UUID."""

    exact = frozenset({uuid.UUID})
    family = "uuid"
    is_strict = True

    def __init__(self) -> None:
        super().__init__(uuid.UUID)

    def mold(self, value: Any) -> uuid.UUID:
        return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


class BinaryKind(Kind):
    """Bytes."""

    exact = frozenset({bytes})
    family = "binary"

    def __init__(self) -> None:
        super().__init__(bytes)


class JSONKind(Kind):
    """A document, wrapped by Django so that the field's own encoder writes it."""

    family = "json"

    def mold(self, value: Any) -> Any:
        if not hasattr(value, "dumps"):
            raise ValueError("is not wrapped as JSON")
        return value


class ArrayKind(Kind):
    """A list, or lists within it, of values that fit `element`."""

    family = "array"

    def __init__(self, element: Kind) -> None:
        super().__init__()
        self.element = element

    def mold(self, value: Any) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise ValueError("is not a list")  # noqa: TRY004
        return [
            None
            if each is None
            else self.mold(each)
            if isinstance(each, list | tuple)
            else self.element.mold(each)
            for each in value
        ]


class RangeKind(Kind):
    """A range whose bounds fit `bound`, as psycopg has it."""

    family = "range"

    def __init__(self, bound: Kind) -> None:
        super().__init__()
        self.bound = bound

    def mold(self, value: Any) -> Any:
        if not hasattr(value, "lower_inc") or not hasattr(value, "upper_inc"):
            raise ValueError("is not a range")
        bounds = [each for each in (value.lower, value.upper) if each is not None]
        if not all(type(each) in self.bound.exact for each in bounds) or self.bound.checked(bounds) is None:
            raise ValueError("has bounds of another type")
        return value


class AddressKind(Kind):
    """An IPv4 or IPv6 address."""

    family = "address"

    def mold(self, value: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        return ipaddress.ip_address(value)


@cache
def _integers(least: int, most: int) -> Any:
    return Annotated[int, msgspec.Meta(ge=least, le=most)]


@cache
def _texts(length: int | None) -> Any:
    return str if length is None else Annotated[str, msgspec.Meta(max_length=length)]


def as_postgresql_reads(moment: dt.datetime, timezone: dt.tzinfo) -> dt.datetime:
    """Return the naive `moment` with the offset that PostgreSQL gives it in `timezone`.

    A time that a clock shows twice is its second (standard) one, a skipped one has the offset before the gap.

    Source:
        PostgreSQL, src/backend/utils/adt/datetime.c, DetermineTimeZoneOffsetInternal.
    """
    first, second = (moment.replace(tzinfo=timezone, fold=fold) for fold in (0, 1))
    offsets = (first.utcoffset() or dt.timedelta(), second.utcoffset() or dt.timedelta())
    return second if offsets[0] > offsets[1] else first


def _only(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise ValueError(f"is not a {kind.__name__}")  # noqa: TRY004
    return value
