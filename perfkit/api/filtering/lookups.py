"""Ways in which a parameter filters, beside ninja's FilterLookup: lists, days, text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta, tzinfo
from typing import Any, Final, cast

from django.conf import settings
from django.db.models import CharField, TextField
from django.db.models.lookups import IContains
from django.utils import timezone
from ninja import FilterLookup
from pydantic_core import PydanticCustomError

MOST_VALUES: Final = 100
LEAST_LETTERS: Final = 3
"""A trigram index finds nothing by fewer."""
LONGEST_SEARCH: Final = 100
FIRST_DAY, LAST_DAY = date(2, 1, 1), date(9998, 12, 31)


class In(FilterLookup):
    """Rows whose column has one of some values: `?airline=UA,AA`, or `?airline=UA&airline=AA`, or both.

    Each value is validated by itself, and what is given twice counts once.
    The parameter is annotated with a list, and so is any other whose lookup is `…__in`.

    Args:
        path: Of the column.
        most: Values in one request; of more it is a 422.
        separator: Between the values in one parameter; None where values may contain it, and each is given in a
            parameter of its own.

    Example:
        airline: Annotated[list[str] | None, In("airline_id")] = None
    """

    def __init__(self, path: str, *, most: int = MOST_VALUES, separator: str | None = ",") -> None:
        super().__init__(f"{path}__in")
        self.most = most
        self.separator = separator


class FromDay(FilterLookup):
    """Rows of a day or later, by the clocks of a time zone; with `ToDay` of the same column a range of days.

    Args:
        path: Of a column of moments; one of dates is compared with `FilterLookup("…__gte")`.
        zone: Where the day is; the current time zone where it is None.

    Example:
        date_from: Annotated[date | None, FromDay("time_hour", NEW_YORK)] = None
    """

    lookup: Final = "gte"
    days_after = 0

    def __init__(self, path: str, zone: tzinfo | None = None) -> None:
        super().__init__(f"{path}__{self.lookup}")
        self.zone = zone

    def compared(self, day: date) -> datetime:
        """Return the moment that the column is compared with."""
        found = day + timedelta(days=self.days_after)
        midnight = datetime(found.year, found.month, found.day)  # noqa: DTZ001  # the zone comes next
        return (
            midnight.replace(tzinfo=self.zone or timezone.get_current_timezone())
            if settings.USE_TZ
            else midnight
        )


class ToDay(FromDay):
    """Rows of a day or earlier, to its last moment; see `FromDay`.

    Example:
        date_to: Annotated[date | None, ToDay("time_hour", NEW_YORK)] = None
    """

    lookup = "lt"  # type: ignore[misc]  # of what is after the day
    days_after = 1


class Search(FilterLookup):
    """Rows in which one of some columns contains a text, in capital or small letters: a search as people type it.

    On PostgreSQL it is `column ILIKE '%text%'`, which a trigram index of the column itself serves:
    `GinIndex(fields=["name"], opclasses=["gin_trgm_ops"], name=…)`.
    Django's own `icontains` needs one of `Upper("name")`.
    What a pattern would mean, `%` and `_`, means itself.

    Args:
        paths: Of columns of text.
        least: Letters and digits that a text has at least; a trigram index finds nothing by fewer than three.
        most: Its longest length.

    Example:
        search: Annotated[str | None, Search("name", "code")] = None
    """

    def __init__(self, *paths: str, least: int = LEAST_LETTERS, most: int = LONGEST_SEARCH) -> None:
        super().__init__([f"{path}__{ILikeContains.lookup_name}" for path in paths])
        self.least = least
        self.most = most

    def checked(self, text: str) -> str:
        """Return the text without spaces around it.

        Raises:
            PydanticCustomError: It is too short or too long.
        """
        text = text.strip()
        if sum(map(str.isalnum, text)) < self.least:
            message = "Input should have at least {least} letters or digits"
            raise PydanticCustomError("search_too_short", message, {"least": self.least})
        if len(text) > self.most:
            message = "Input should have at most {most} characters"
            raise PydanticCustomError("search_too_long", message, {"most": self.most})
        return text


@CharField.register_lookup
@TextField.register_lookup
class ILikeContains(IContains):
    """`icontains` as PostgreSQL compares it with a trigram index of the column itself."""

    lookup_name = "ilike_contains"

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, Sequence[Any]]:
        """Return the comparison by ILIKE; with a column as `icontains`, which makes a pattern of what that has."""
        if not self.rhs_is_direct_value():
            return cast("tuple[str, Sequence[Any]]", self.as_sql(compiler, connection))
        column, params = self.process_lhs(compiler, connection)
        pattern, values = self.process_rhs(compiler, connection)
        return f"{column} ILIKE {pattern}", (*params, *values)

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Return the comparison that `icontains` is on other databases."""
        return IContains(self.lhs, self.rhs).as_sql(compiler, connection)
