"""Pages of big tables without counting all their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.core.paginator import EmptyPage, Page, Paginator
from django.db import connections
from django.db.models import QuerySet
from django.utils.functional import cached_property

from perfkit.postgres.estimates import estimated_rows

if TYPE_CHECKING:
    AnyPaginator = Paginator[Any]
else:  # generic for the type checker only
    AnyPaginator = Paginator

COUNTED_ROWS = 10_000
DEEP_ROWS = 1_000


class RoughCount(int):
    """A number of rows that is not exact, and says so where it is printed."""

    text: str

    def __new__(cls, rows: int, text: str) -> Self:
        """Make the number `rows` that prints as `text`."""
        count = super().__new__(cls, rows)
        count.text = text
        return count

    def __str__(self) -> str:
        return self.text


class EstimatingPaginator(AnyPaginator):
    """Counts at most 10,000 rows; takes the database's own estimate for a whole table, where it has one.

    So of a filtered list the first 10,000 rows can be reached, of a whole table all.
    A page deep in the list finds its primary keys first: the rows before it are then skipped in the index,
    and are not joined with anything.
    An estimate may be wrong either way, so where it says that the list ends, and where a page shows that it
    ended before, the rows are counted.

    Queries: 1 for the count, or 2 where the estimate is small; 1 for a page, 2 for a deep one;
    1 more, over the whole table, at the end of an estimated list.
    """

    object_list: QuerySet[Any]
    _is_estimated = False

    @cached_property
    def count(self) -> int:
        """Count the list's rows; a RoughCount where they were not counted to the end."""
        estimate = self._estimate() if is_whole_table(self.object_list) else None
        if estimate is not None and estimate > COUNTED_ROWS:
            self._is_estimated = True
            return RoughCount(estimate, f"about {estimate:,}")
        counted = self.object_list.order_by()[: COUNTED_ROWS + 1].count()
        return counted if counted <= COUNTED_ROWS else RoughCount(COUNTED_ROWS, f"more than {COUNTED_ROWS:,}")

    def validate_number(self, number: float | str) -> int:
        """Return the number of a page that is there; count the rows before saying that it is not."""
        try:
            valid = super().validate_number(number)
        except EmptyPage:
            if not self._is_estimated:
                raise
        else:
            if not self._is_estimated or valid < self.num_pages:
                return valid
        self._count_exactly()
        return super().validate_number(number)

    def page(self, number: int | str) -> Page[Any]:
        """Return one page, its rows joined with nothing that lies before them."""
        valid = self.validate_number(number)
        start = (valid - 1) * self.per_page
        if start < DEEP_ROWS:
            return super().page(valid)
        keys = list(self.object_list.values_list("pk", flat=True)[start : start + self.per_page])
        if self._is_estimated and len(keys) < self.per_page:
            self._count_exactly()
            valid = self.validate_number(valid)
        return Page(self.object_list.filter(pk__in=keys), valid, self)

    def _count_exactly(self) -> None:
        self._is_estimated = False
        self.count = self.object_list.order_by().count()
        self.__dict__.pop("num_pages", None)  # it was cached from the estimate

    def _estimate(self) -> int | None:
        connection = connections[self.object_list.db]
        if connection.vendor != "postgresql":
            return None
        return estimated_rows(connection, self.object_list.model._meta.db_table)


def is_whole_table(queryset: QuerySet[Any]) -> bool:
    """Return whether the queryset yields every row of its table once."""
    query = queryset.query
    return not (
        query.where
        or query.is_sliced
        or query.distinct
        or query.combinator
        or query.group_by
        or query.extra_tables
        or query.is_empty()
    )
