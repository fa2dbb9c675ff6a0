"""Pages of big tables without counting all their rows, and without reading those before a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from django.core.paginator import EmptyPage, Page, PageNotAnInteger, Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

from perfkit.admin.open_lists import OpenList, OpenPage
from perfkit.admin.page_numbers import FIRST, LAST, MOST_PAGES_AWAY, Asked, PageLink
from perfkit.admin.rough_counts import COUNT_CAP, RoughCount, rows_of

if TYPE_CHECKING:
    AnyPaginator = Paginator[Any]
    AnyPage = Page[Any]
else:  # generic for the type checker only
    AnyPaginator, AnyPage = Paginator, Page

DEEP_ROWS: Final = 1_000
"""From here on the rows before a page are skipped by their keys, and not joined with anything."""


class LargeTablePage(AnyPage):
    """A page of a list whose end is not known, and what is known of the pages beside it."""

    def __init__(self, rows: QuerySet[Any], found: OpenPage, paginator: Any) -> None:
        super().__init__(rows, PageLink(Asked(found.number)), paginator)
        self.found = found

    def has_next(self) -> bool:
        """Say whether there is a page after this one."""
        return self.found.ahead > 0

    def has_previous(self) -> bool:
        """Say whether there is a page before this one."""
        return self.found.behind > 0


class LargeTablePaginator(AnyPaginator):
    """Counts at most 10,000 rows; takes the database's own estimate for a whole table, where it has one.

    A list with more rows is open: it has pages as far as there are rows, and `-1` is the number of the last one.
    See Note [Pages of an open list].

    Attributes:
        count_cap: Rows that are counted one by one.

    Queries:
        One for the count, two where the estimate is small. One for a page; two where it is deep; of an open list
        those of `OpenList.page`, and one for the rows.
    """

    object_list: QuerySet[Any]
    count_cap: int = COUNT_CAP
    _page: LargeTablePage | None = None

    @cached_property
    def count(self) -> int:
        """Count the list's rows; a RoughCount where they were not counted to the end."""
        return rows_of(self.object_list, cap=self.count_cap)

    @property
    def is_open(self) -> bool:
        """Whether nobody knows where the list ends."""
        return isinstance(self.count, RoughCount)

    def page(self, number: int | str) -> AnyPage:
        """Return the page of a number."""
        if self.is_open:
            return self.asked(Asked(_whole(number)))
        valid = self.validate_number(number)
        start = (valid - 1) * self.per_page
        if start < DEEP_ROWS:
            return super().page(valid)
        plain = self.object_list.select_related(None).prefetch_related(None)
        keys = list(plain.values_list("pk", flat=True)[start : start + self.per_page])
        return Page(self.object_list.filter(pk__in=keys), valid, self)

    def asked(self, asked: Asked) -> AnyPage:
        """Return a page by its number, or by a place beside it.

        Raises:
            EmptyPage: There are no rows; the first page of a list may have none.
        """
        if not self.is_open:
            return self.page(asked.number if asked.number > 0 else self.num_pages + asked.number + 1)
        found = self._list.page(asked) if asked.number else None
        if found is not None and not found.rows and asked.number == 1:
            self.count = 0  # the estimate is of rows that have gone meanwhile
            return super().page(1)
        if found is None or not found.rows:
            raise EmptyPage(self.error_messages["no_results"])
        self._page = LargeTablePage(self.object_list.filter(pk__in=found.keys), found, self)
        return self._page

    def get_elided_page_range(
        self, number: float | str = 1, *, on_each_side: int = 3, on_ends: int = 2
    ) -> Iterator[Any]:
        """Yield the numbers of pages that the list has links to: of an open list what is known to be there."""
        if not self.is_open:
            yield from super().get_elided_page_range(number, on_each_side=on_each_side, on_ends=on_ends)
            return
        if self._page is None or self._page.number != number:
            self.page(_whole(number))
        assert self._page is not None  # noqa: S101  # it has just been read
        yield from self._links(self._page.found, on_ends)

    def _links(self, page: OpenPage, on_ends: int) -> Iterator[Any]:
        steps = range(-page.behind, page.ahead + 1)
        near = [
            PageLink(self._list.neighbour(page, step) if step else Asked(page.number))
            for step in steps
            if page.number < 0 or page.number + step > 0
        ]
        first = near[0] if near[0] > 0 else on_ends + 2
        yield from (PageLink(FIRST._replace(number=each)) for each in range(1, min(on_ends + 1, first)))
        if first > on_ends + 1:
            yield self.ELLIPSIS
        yield from near
        if page.ahead == MOST_PAGES_AWAY and near[-1] != LAST.number:  # else the last one is among them
            yield self.ELLIPSIS
            yield PageLink(LAST)

    @cached_property
    def _list(self) -> OpenList:
        return OpenList(self.object_list, self.per_page)


class ReadAheadPaginator(AnyPaginator):
    """Reads one row more than a page has, which tells whether there is another page: nothing is counted.

    Queries: 1 for a page.
    """

    def page(self, number: int | str) -> AnyPage:
        """Return a page, whose rows have been read."""
        valid = max(_whole(number), 1)
        start = (valid - 1) * self.per_page
        rows = list(self.object_list[start : start + self.per_page + 1])
        if not rows and (valid > 1 or not self.allow_empty_first_page):
            raise EmptyPage(self.error_messages["no_results"])
        return ReadAheadPage(rows, valid, self)


class ReadAheadPage(AnyPage):
    """A page, and whether there is another one."""

    def __init__(self, rows: list[Any], number: int, paginator: Any) -> None:
        super().__init__(rows[: paginator.per_page], number, paginator)
        self._has_next: bool = len(rows) > paginator.per_page

    def has_next(self) -> bool:
        """Say whether there is a page after this one."""
        return self._has_next


def _whole(number: Any) -> int:
    """Return the number of a page.

    Raises:
        PageNotAnInteger: It is none.
    """
    try:
        if isinstance(number, float) and not number.is_integer():
            raise ValueError(number)  # noqa: TRY301  # as Django has it
        return int(number)
    except (TypeError, ValueError) as error:
        raise PageNotAnInteger(Paginator.default_error_messages["invalid_page"]) from error
