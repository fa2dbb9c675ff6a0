"""Keyset pages of a queryset: the rows after, or before, the place that a cursor names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from django.db import connections
from django.db.models import Model, QuerySet, aprefetch_related_objects, prefetch_related_objects

from perfkit.api.pages import DEFAULT_PAGE_SIZE, check_page
from perfkit.caching.values import UnstorableError
from perfkit.errors import KeysetOrderError
from perfkit.paging.cursors import Place, cursor_of, fingerprint_of, place_of
from perfkit.paging.keys import ANNOTATION, SortKey, keyed, value_of
from perfkit.paging.segments import after

M = TypeVar("M", bound=Model)
R = TypeVar("R")

_BEGIN: Final = Place(is_backward=False, values=None)
_END: Final = Place(is_backward=True, values=None)


@dataclass(frozen=True, slots=True)
class KeysetPage(Generic[R]):
    """One page of a list, and the cursors of those beside it.

    Attributes:
        next: Cursor of the page after it; None where there are no rows after it.
        previous: Cursor of the page before it; None where it is the first.
        has_prev: Whether there is a page before it; one that was there when the cursor was given, at least.
    """

    items: list[R]
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
    ordered, keys = keyed(queryset)
    walk = Walk(queryset.model._meta.label, keys, cursor, page_size, scope=scope)
    rows: list[M] = []
    for segment in walk.segments(ordered):
        rows += segment[: walk.wanted - len(rows)]
        if len(rows) == walk.wanted:
            break
    if prefetches := _prefetches(queryset):
        prefetch_related_objects(rows[:page_size], *prefetches)
    return _cleaned(walk.page(rows, walk.values_of), rows)


async def akeyset(
    queryset: QuerySet[M, M],
    cursor: str | None = None,
    page_size: int = DEFAULT_PAGE_SIZE,
    *,
    scope: str = "",
) -> KeysetPage[M]:
    """Return the page of `queryset` that a cursor names; the async twin of `keyset`."""
    ordered, keys = keyed(queryset)
    walk = Walk(queryset.model._meta.label, keys, cursor, page_size, scope=scope)
    rows: list[M] = []
    for segment in walk.segments(ordered):
        rows += [row async for row in segment[: walk.wanted - len(rows)]]
        if len(rows) == walk.wanted:
            break
    if prefetches := _prefetches(queryset):
        await aprefetch_related_objects(rows[:page_size], *prefetches)
    return _cleaned(walk.page(rows, walk.values_of), rows)


class Walk:
    """The way from a cursor to a page.

    Attributes:
        keys: Of the order.
        place: Where it begins.
        wanted: Rows to read: one more than the page has, which tells whether there is another page.

    Raises:
        CursorError, PageError: As `keyset`.
    """

    def __init__(
        self, label: str, keys: tuple[SortKey, ...], cursor: str | None, page_size: int, *, scope: str
    ) -> None:
        check_page(1, page_size)
        self.keys = keys
        self._label = label
        self._fingerprint = fingerprint_of(label, keys, scope)
        self.place = _BEGIN
        if cursor is not None:
            self.place = place_of(cursor, fingerprint=self._fingerprint, keys=len(keys))
        self._page_size = page_size
        self.wanted = page_size + 1

    def segments(self, queryset: QuerySet[M, M]) -> Iterator[QuerySet[M, M]]:
        """Yield the rows from the place on, in the direction of the walk; `queryset` is as `keyed` returns it."""
        yield from segments(queryset, self.keys, self.place)

    def page(self, rows: Sequence[R], values_of: Callable[[R], tuple[Any, ...]]) -> KeysetPage[R]:
        """Return the page of the rows that were found, in the direction of the walk.

        Args:
            values_of: Tells what a row has for the keys.
        """
        found = list(rows[: self._page_size])
        has_more = len(rows) > self._page_size
        is_backward = self.place.is_backward
        came_from = self.place.values is not None
        if is_backward:
            found.reverse()
        has_next, has_prev = (came_from, has_more) if is_backward else (has_more, came_from)
        # Where nothing is found, all that was there has gone.
        next_place = Place(is_backward=False, values=values_of(found[-1])) if found else _BEGIN
        previous_place = Place(is_backward=True, values=values_of(found[0])) if found else _END
        return KeysetPage(
            found,
            self._cursor(next_place) if has_next else None,
            self._cursor(previous_place) if has_prev else None,
            has_next=has_next,
            has_prev=has_prev,
        )

    def values_of(self, row: Model) -> tuple[Any, ...]:
        """Return what an instance has for the keys."""
        return tuple([value_of(row, key) for key in self.keys])

    def _cursor(self, place: Place) -> str:
        try:
            return cursor_of(place, fingerprint=self._fingerprint)
        except UnstorableError as error:
            problem = f"it is sorted by a {error.reason}, which cannot stand in a cursor"
            raise KeysetOrderError(self._label, problem) from error


def segments(queryset: QuerySet[M, M], keys: tuple[SortKey, ...], place: Place) -> Iterator[QuerySet[M, M]]:
    """Yield the rows from a place on, in the direction in which it is walked. See Note [Segments]."""
    walked = tuple([key.backward for key in keys]) if place.is_backward else keys
    ordered = queryset.prefetch_related(None).order_by(*[key.term for key in walked])
    if not ordered.query.standard_ordering:
        ordered = ordered.reverse()  # the keys are in the order that was meant
    if place.values is None:
        yield ordered
        return
    for condition in after(walked, place.values, vendor=connections[ordered.db].vendor):
        yield ordered.filter(condition)


def _prefetches(queryset: QuerySet[Any]) -> tuple[Any, ...]:
    return tuple(queryset._prefetch_related_lookups)  # type: ignore[attr-defined]  # noqa: SLF001  # no public name


def _cleaned(page: KeysetPage[M], rows: Iterable[M]) -> KeysetPage[M]:
    """Take off the rows what only told their places."""
    for row in rows:
        for name in [name for name in vars(row) if name.startswith(ANNOTATION)]:
            delattr(row, name)
    return page
