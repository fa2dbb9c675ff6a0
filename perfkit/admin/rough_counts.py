"""How many rows a list has, as far as that can be told without counting them all."""

from __future__ import annotations

from typing import Any, Final, Self

from django.db import connections
from django.db.models import QuerySet
from django.utils.formats import number_format
from django.utils.translation import gettext

from perfkit.postgres.estimates import estimated_rows

COUNT_CAP: Final = 10_000
"""Rows that are counted one by one."""


class RoughCount(int):
    """A number of rows that were not counted to the end, and that says so wherever it is printed.

    It compares and plurals as the number does. Django's templates format numbers by their digits, which would
    tear the text apart where thousands are separated; what equals "" they print as it is.

    Args:
        is_estimate: Whether it is about so many, by the database's own estimate; else at least so many.
    """

    is_estimate: bool

    def __new__(cls, rows: int, *, is_estimate: bool) -> Self:
        """Make the number `rows`."""
        count = super().__new__(cls, rows)
        count.is_estimate = is_estimate
        return count

    def __getnewargs_ex__(self) -> tuple[tuple[int], dict[str, bool]]:
        return (int(self),), {"is_estimate": self.is_estimate}

    def __str__(self) -> str:
        rows = number_format(int(self), force_grouping=True)
        return gettext("about %(rows)s") % {"rows": rows} if self.is_estimate else f"{rows}+"

    def __eq__(self, other: object) -> bool:
        return other == "" or int(self) == other

    __hash__ = int.__hash__


def rows_of(queryset: QuerySet[Any], *, cap: int = COUNT_CAP) -> int:
    """Return the number of rows, or a `RoughCount` where there are more than `cap`.

    Of a whole table that is about so many, by PostgreSQL's estimate; of anything else, at least `cap`.

    Queries:
        One, to the catalogue alone where the estimate is larger than the cap; else one that counts to the cap,
        after it where the table is whole.
    """
    if is_whole_table(queryset):
        estimate = table_estimate(queryset)
        if estimate is not None and estimate > cap:
            return RoughCount(estimate, is_estimate=True)
    counted: int = queryset.order_by().values("pk")[: cap + 1].count()
    return counted if counted <= cap else RoughCount(cap, is_estimate=False)


def table_estimate(queryset: QuerySet[Any]) -> int | None:
    """Return about how many rows the table has that the queryset is of; None where nobody knows.

    Queries: 1 on PostgreSQL, to the catalogue; none elsewhere.
    """
    connection = connections[queryset.db]
    if connection.vendor != "postgresql":
        return None
    return estimated_rows(connection, queryset.model._meta.db_table)


def is_whole_table(queryset: QuerySet[Any]) -> bool:
    """Return whether the queryset yields every row of its table once."""
    query = queryset.query
    is_joined = sum(1 for references in query.alias_refcount.values() if references) > 1
    return not (
        query.where
        or is_joined
        or query.is_sliced
        or query.distinct
        or query.combinator
        or query.group_by
        or query.extra_tables
        or query.is_empty()
    )
