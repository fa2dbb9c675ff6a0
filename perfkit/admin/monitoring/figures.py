"""Numbers as people read them. Pure, but for the language."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format

NOTHING: Final = "-"


def _written(number: float, places: int) -> str:
    """Return a number as the language writes it, rounded, which `number_format` does not."""
    return str(number_format(Decimal(f"{number:.{places}f}"), places, force_grouping=True))


def whole(number: float) -> str:
    """Return a number without decimals."""
    return _written(number, 0)


def decimal(number: float | None, places: int = 1) -> str:
    """Return a number with decimals."""
    return NOTHING if number is None else _written(number, places)


def percent(share: float | None, places: int = 1) -> str:
    """Return a share of 0 to 1 in percent."""
    return NOTHING if share is None else f"{_written(share * 100, places)}%"


def duration(seconds: float | None) -> str:
    """Return a duration in the unit that suits it, with three digits or so.

    Example:
        >>> [duration(seconds) for seconds in (0.000_42, 0.0123, 0.456, 2.5, 150, None)]
        ['0.42 ms', '12.3 ms', '456 ms', '2.50 s', '150 s', '-']
    """
    if seconds is None:
        return NOTHING
    number, unit = (seconds, "s") if seconds >= 1 else (seconds * 1000, "ms")
    return f"{_written(number, places_of(number))} {unit}"


def places_of(number: float) -> int:
    """Return how many decimals leave a number with three digits or so."""
    return max(0, 3 - len(str(int(abs(number)))))


def size(number_of_bytes: int | None) -> str:
    """Return a size in the unit that suits it."""
    return NOTHING if number_of_bytes is None else str(filesizeformat(number_of_bytes))
