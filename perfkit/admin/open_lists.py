"""Pages of a list whose end is not known, found by the keys of their rows.

# Note [Pages of an open list]
The keys of a page's rows are read first, with what the list is sorted by, and then the rows by their keys: so
nothing is joined with the rows that lie before the page. With the keys come those of the next three pages, which
tells which of these there are.
A neighbouring page is found from the first or the last row of this one, so it costs the same at any depth.
A page from the end is read backward. Only a page that is asked for by its number is found by an OFFSET: then the
database walks over the keys before it, in the index of the order where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connections
from django.db.models import QuerySet

from perfkit.admin.page_numbers import FIRST, LAST, MOST_NUMBER, MOST_PAGES_AWAY, Asked
from perfkit.caching.values import UnstorableError
from perfkit.errors import CursorError, KeysetOrderError
from perfkit.paging.cursors import Place, cursor_of, fingerprint_of, place_of
from perfkit.paging.keys import SortKey, keyed
from perfkit.paging.segments import after

SHALLOW_ROWS: Final = 1_000
"""A database walks over so many keys as quickly as it finds a place; plain numbers are nicer to read."""

Row = tuple[Any, ...]
"""The primary key of a row, and the values that it is sorted by."""


@dataclass(frozen=True, slots=True)
class OpenPage:
    """One page of an open list.

    Attributes:
        number: From 1 on, or below 0 from the end.
        rows: Those of the page.
        behind: Pages that there are before it, three at most.
        ahead: Pages that there are after it, three at most.
    """

    number: int
    rows: Sequence[Row]
    behind: int
    ahead: int

    @property
    def keys(self) -> list[Any]:
        """The primary keys of its rows, in their order."""
        return [row[0] for row in self.rows]


class OpenList:
    """A queryset as pages; see Note [Pages of an open list]."""

    def __init__(self, queryset: QuerySet[Any], per_page: int) -> None:
        self._plain: QuerySet[Any] = queryset.select_related(None).prefetch_related(None)
        self._per_page = per_page
        self._keys: tuple[SortKey, ...] = ()
        try:
            ordered, self._keys = keyed(self._plain)
        except KeysetOrderError:
            return  # its pages are found by their numbers alone
        self._plain = ordered.order_by(*[key.term for key in self._keys])
        if not self._plain.query.standard_ordering:
            self._plain = self._plain.reverse()  # the keys are in the order that was meant
        self._fingerprint = fingerprint_of(queryset.model._meta.label, self._keys, "admin")

    def page(self, asked: Asked) -> OpenPage:
        """Return the page that is asked for; without rows where it lies beyond the end.

        Queries:
            One by number and from the end; from a place one for each segment, see Note [Segments], and as many
            again where the page lies before it.
        """
        if asked.cursor is not None and self._keys:
            try:
                place = place_of(asked.cursor, fingerprint=self._fingerprint, keys=len(self._keys))
            except CursorError:
                place = None  # of another order, or of another list: then the number is what is left
            if place is not None and place.values is not None:
                return (
                    self._before(asked, place.values)
                    if place.is_backward
                    else self._after(asked, place.values)
                )
        return self._by_number(asked.number) if asked.number > 0 else self._from_end(asked.number)

    def neighbour(self, page: OpenPage, steps: int) -> Asked:
        """Return how to ask for the page so many steps after one, or before it where negative."""
        number = page.number + steps
        depth = number if number > 0 else -number
        edge = page.rows[-1] if steps > 0 else page.rows[0]
        if depth * self._per_page <= SHALLOW_ROWS or not self._keys:
            return Asked(number)
        place = Place(is_backward=steps < 0, values=edge[1:])
        try:
            cursor = cursor_of(place, fingerprint=self._fingerprint)
        except UnstorableError:
            return Asked(number)
        return Asked(number, abs(steps) - 1, cursor)

    def _by_number(self, number: int) -> OpenPage:
        start = (min(number, MOST_NUMBER) - 1) * self._per_page
        found = list(self._rows(self._plain)[start : start + self._most(0)])
        return OpenPage(
            number,
            found[: self._per_page],
            min(number - 1, MOST_PAGES_AWAY),
            self._pages(found[self._per_page :]),
        )

    def _from_end(self, number: int) -> OpenPage:
        start = (min(-number, MOST_NUMBER) - 1) * self._per_page
        found = list(self._rows(self._plain.reverse())[start : start + self._most(0)])
        if not found:
            return self._by_number(FIRST.number)
        rows = found[: self._per_page][::-1]
        return OpenPage(number, rows, self._pages(found[self._per_page :]), min(-number - 1, MOST_PAGES_AWAY))

    def _after(self, asked: Asked, values: Row) -> OpenPage:
        skipped = asked.pages_away * self._per_page
        found = self._beyond(self._keys, self._plain, values, self._most(asked.pages_away))
        rows = found[skipped : skipped + self._per_page]
        if not rows:  # they have gone meanwhile, or what was taken for a page ended early
            return self._from_end(LAST.number)
        ahead = self._pages(found[skipped + self._per_page :])
        if asked.number < 0:
            ahead = min(ahead, -asked.number - 1)
        behind = MOST_PAGES_AWAY if asked.number < 0 else min(asked.number - 1, MOST_PAGES_AWAY)
        return OpenPage(asked.number, rows, behind, ahead)

    def _before(self, asked: Asked, values: Row) -> OpenPage:
        skipped = asked.pages_away * self._per_page
        backward = tuple([key.backward for key in self._keys])
        found = self._beyond(backward, self._plain.reverse(), values, self._most(asked.pages_away))
        rows = found[skipped : skipped + self._per_page][::-1]
        if len(rows) < self._per_page:  # the list begins here
            return self._by_number(FIRST.number)
        behind = self._pages(found[skipped + self._per_page :])
        if asked.number < 0:
            return OpenPage(asked.number, rows, behind, min(-asked.number - 1, MOST_PAGES_AWAY))
        following = self._beyond(self._keys, self._plain, rows[-1][1:], self._most(0) - self._per_page)
        return OpenPage(asked.number, rows, min(asked.number - 1, MOST_PAGES_AWAY), self._pages(following))

    def _beyond(self, keys: tuple[SortKey, ...], ordered: QuerySet[Any], values: Row, most: int) -> list[Row]:
        """Return rows that stand beyond a place in this order, the nearest first."""
        rows: list[Row] = []
        for condition in after(keys, values, vendor=connections[ordered.db].vendor):
            rows += self._rows(ordered.filter(condition))[: most - len(rows)]
            if len(rows) == most:
                break
        return rows

    def _rows(self, ordered: QuerySet[Any]) -> QuerySet[Any, Row]:
        return ordered.values_list("pk", *[key.name for key in self._keys])

    def _most(self, pages_away: int) -> int:
        """Return how many rows to read: the page, those between it and the place, and the next three."""
        return (pages_away + 1 + MOST_PAGES_AWAY) * self._per_page

    def _pages(self, rows: Sequence[Row]) -> int:
        return min(-(-len(rows) // self._per_page), MOST_PAGES_AWAY)
