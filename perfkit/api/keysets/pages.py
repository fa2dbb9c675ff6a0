"""Keyset pages of a queryset: the rows after, or before, the place that a cursor names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from django.db import connections
from django.db.models import Model, QuerySet, aprefetch_related_objects, prefetch_related_objects

from perfkit.api.keysets.cursors import Place, cursor_of, fingerprint_of, place_of
from perfkit.api.keysets.keys import ANNOTATION, SortKey, keyed, value_of
from perfkit.api.keysets.segments import after
from perfkit.api.pages import DEFAULT_PAGE_SIZE, check_page
from perfkit.caching.values import UnstorableError
from perfkit.errors import KeysetOrderError

M = TypeVar("M", bound=Model)

_BEGIN: Final = Place(is_backward=False, values=None)
_END: Final = Place(is_backward=True, values=None)


@dataclass(frozen=True, slots=True)
class KeysetPage(Generic[M]):
    """One page of a list, and the cursors of those beside it.

    Attributes:
        next: Cursor of the page after it; None where there are no rows after it.
        previous: Cursor of the page before it; None where it is the first.
        has_prev: Whether there is a page before it; one that was there when the cursor was given, at least.
    """

    items: list[M]
    next: str | None
    previous: str | None
    has_next: bool
    has_prev: bool


def keyset(
    queryset: QuerySet[M, M],
    cursor: str | None = None,
    page_size: int = DEFAULT_PAGE_SIZE,
    *,
    scope: str = "",
) -> KeysetPage[M]:
    """Return the page of `queryset` that a cursor names, the first one without one.

    It costs the same at any depth, and rows that come or go meanwhile neither repeat nor hide others.
    The order is the queryset's own, made total by the primary key. It may mix directions, name columns across
    relations to one row, annotations and NULLs.

    Args:
        queryset: Of instances; not a slice.
        cursor: As a page before has given it.
        page_size: Rows on a page, 1 to 100.
        scope: Anything by which this list is told from others of the model in the same order, such as its filters;
            a cursor of another one is refused.

    Raises:
        CursorError: The cursor is none of this list and order.
        KeysetOrderError: The order is random, by a relation of many rows, or of a slice.
        PageError: `page_size` is out of range.

    Queries:
        One, and one for each relation that is prefetched. Where keys mix directions or may be NULL, one or two
        more for each of those before the last ones, as long as the page is not full.

    Example:
        >>> page = keyset(Flight.objects.order_by("-time_hour"), request.GET.get("cursor"))
    """
    walk = _Walk(queryset, cursor, page_size, scope=scope)
    rows: list[M] = []
    for segment in walk.segments():
        rows += segment[: walk.wanted - len(rows)]
        if len(rows) == walk.wanted:
            break
    if walk.prefetches:
        prefetch_related_objects(rows[:page_size], *walk.prefetches)
    return walk.page(rows)


async def akeyset(
    queryset: QuerySet[M, M],
    cursor: str | None = None,
    page_size: int = DEFAULT_PAGE_SIZE,
    *,
    scope: str = "",
) -> KeysetPage[M]:
    """Return the page of `queryset` that a cursor names; the async twin of `keyset`."""
    walk = _Walk(queryset, cursor, page_size, scope=scope)
    rows: list[M] = []
    for segment in walk.segments():
        rows += [row async for row in segment[: walk.wanted - len(rows)]]
        if len(rows) == walk.wanted:
            break
    if walk.prefetches:
        await aprefetch_related_objects(rows[:page_size], *walk.prefetches)
    return walk.page(rows)


class _Walk(Generic[M]):
    """The way from a cursor to a page.

    Attributes:
        wanted: Rows to read: one more than the page has, which tells whether there is another page.
        prefetches: What is loaded once the rows are there.
    """

    def __init__(self, queryset: QuerySet[M, M], cursor: str | None, page_size: int, *, scope: str) -> None:
        check_page(1, page_size)
        self._queryset, self._keys = keyed(queryset)
        self._fingerprint = fingerprint_of(queryset.model._meta.label, self._keys, scope)
        self._place = _BEGIN
        if cursor is not None:
            self._place = place_of(cursor, fingerprint=self._fingerprint, keys=len(self._keys))
        self._page_size = page_size
        self.wanted = page_size + 1
        self.prefetches = tuple(queryset._prefetch_related_lookups)  # type: ignore[attr-defined]  # noqa: SLF001  # no public name

    def segments(self) -> Iterator[QuerySet[M, M]]:
        """Yield the rows from the place on, in the direction of the walk."""
        keys = self._walked_keys
        ordered = self._queryset.prefetch_related(None).order_by(*[key.term for key in keys])
        if not ordered.query.standard_ordering:
            ordered = ordered.reverse()  # the keys are in the order that was meant
        if self._place.values is None:
            yield ordered
            return
        for condition in after(keys, self._place.values, vendor=connections[ordered.db].vendor):
            yield ordered.filter(condition)

    def page(self, rows: Sequence[M]) -> KeysetPage[M]:
        """Return the page of the rows that were found, in the direction of the walk."""
        found = list(rows[: self._page_size])
        has_more = len(rows) > self._page_size
        is_backward = self._place.is_backward
        came_from = self._place.values is not None
        if is_backward:
            found.reverse()
        has_next, has_prev = (came_from, has_more) if is_backward else (has_more, came_from)
        next_place, previous_place = self._edges(found, has_next=has_next, has_prev=has_prev)
        page = KeysetPage(
            found,
            self._cursor(next_place),
            self._cursor(previous_place),
            has_next=has_next,
            has_prev=has_prev,
        )
        _cleaned(rows)
        return page

    def _edges(self, found: list[M], *, has_next: bool, has_prev: bool) -> tuple[Place | None, Place | None]:
        """Return the places of the pages after and before the one that was found."""
        if not found:  # all that was there has gone
            return (_BEGIN if has_next else None), (_END if has_prev else None)
        first, last = (tuple([value_of(row, key) for key in self._keys]) for row in (found[0], found[-1]))
        return (
            Place(is_backward=False, values=last) if has_next else None,
            Place(is_backward=True, values=first) if has_prev else None,
        )

    def _cursor(self, place: Place | None) -> str | None:
        if place is None:
            return None
        try:
            return cursor_of(place, fingerprint=self._fingerprint)
        except UnstorableError as error:
            problem = f"it is sorted by a {error.reason}, which cannot stand in a cursor"
            raise KeysetOrderError(self._queryset.model._meta.label, problem) from error

    @property
    def _walked_keys(self) -> tuple[SortKey, ...]:
        return tuple([key.backward for key in self._keys]) if self._place.is_backward else self._keys


def _cleaned(rows: Iterable[Model]) -> None:
    """Take off the rows what only told their places."""
    for row in rows:
        for name in [name for name in vars(row) if name.startswith(ANNOTATION)]:
            delattr(row, name)
