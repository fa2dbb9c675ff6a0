"""The years, months and days of an admin's date hierarchy, without reading the rows of each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Max, Min, QuerySet
from django.utils import timezone

if TYPE_CHECKING:
    AnyQuerySet = QuerySet[Any]
else:  # generic for the type checker only
    AnyQuerySet = QuerySet

MOST_STEPS: Final = 100
"""Years between a wrong date and the others may be many; then Django's own answer is the better one."""


class DateSteps(AnyQuerySet):
    """Answers `dates` and `datetimes` with every step from the first date to the last, empty ones too.

    Queries: 1, for the two ends: an index on the column has them.
    """

    def dates(self, field_name: str, kind: Any, order: Any = "ASC") -> Any:
        """Return the first days of the years or months, or the days."""
        return self._steps(field_name, kind) or super().dates(field_name, kind, order)

    def datetimes(self, field_name: str, kind: Any, order: Any = "ASC", tzinfo: Any = None) -> Any:
        """Return the same, by the clocks of the current time zone."""
        return self._steps(field_name, kind) or super().datetimes(field_name, kind, order, tzinfo)

    def _steps(self, field_name: str, kind: str) -> list[date]:
        ends = self.aggregate(first=Min(field_name), last=Max(field_name))
        if ends["first"] is None:
            return []
        found: list[date] = []
        for step in _between(_day(ends["first"]), _day(ends["last"]), kind):
            found.append(step)
            if len(found) > MOST_STEPS:
                return []
        return found


def with_date_steps(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """Return the same rows, whose date hierarchy reads none of them."""
    clone = queryset.all()
    clone.__class__ = _class_of(type(clone))
    return clone


@cache
def _class_of(kind: type[QuerySet[Any]]) -> type[QuerySet[Any]]:
    return type(kind.__name__, (DateSteps, kind), {})


def _day(value: Any) -> date:
    if isinstance(value, datetime):
        return (timezone.localtime(value) if timezone.is_aware(value) else value).date()
    return value  # type: ignore[no-any-return]  # a date


def _between(first: date, last: date, kind: str) -> Iterator[date]:
    """Yield the first day of each step that has a day from `first` to `last`."""
    step = (
        first.replace(day=1)
        if kind == "month"
        else first.replace(month=1, day=1)
        if kind == "year"
        else first
    )
    while step <= last:
        yield step
        if kind == "year":
            step = step.replace(year=step.year + 1)
        elif kind == "month":
            step = (step + timedelta(days=31)).replace(day=1)
        else:
            step += timedelta(days=1)
