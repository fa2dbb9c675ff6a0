"""Pages of a queryset: the envelope and its arithmetic, without ninja."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

from django.db import connections
from django.db.models import QuerySet

from perfkit.api.counts import Count, acounted, counted
from perfkit.errors import PageError
from perfkit.paging.ordering import total_order

R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")

DEFAULT_PAGE_SIZE: Final = 20
MAX_PAGE_SIZE: Final = 100
DEEP_OFFSET: Final = 1000
"""Rows before a page from which on it is looked up late; below, reading them is as cheap as the subquery."""

MAX_PAGE: Final = 2**31 - 1
"""Largest page number: times `MAX_PAGE_SIZE` it still fits a database's 64-bit OFFSET."""


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """One page of a list, and where it stands in it.

    Past the end, `items` is empty and `total` is still true.
    """

    items: list[R]
    total: int
    page: int
    page_size: int
    total_pages: int
    has_next: bool
    has_prev: bool


@dataclass(frozen=True, slots=True)
class OpenPage(Generic[R]):
    """One page of a list whose rows were not all counted.

    Attributes:
        total: All rows; None where that is not known.
        total_at_least: So many there are for certain.
        estimated_total: What the database expects, where it was asked; it may be wrong many times over.
    """

    items: list[R]
    total: int | None
    total_at_least: int
    estimated_total: int | None
    page: int
    page_size: int
    has_next: bool
    has_prev: bool


def paginate(
    rows: QuerySet[Any, R] | Sequence[R],
    page: int = 1,
    page_size: int = DEFAULT_PAGE_SIZE,
    *,
    count: Literal["exact", "cached"] = "exact",
) -> Page[R]:
    """Return one page of `rows`, in an order that is total.

    Args:
        rows: A queryset, or a sequence that is taken as it stands.
        page: From 1.
        page_size: Items on a page, 1 to 100.
        count: `"cached"` counts once, until a row of the tables is written.

    Raises:
        PageError: `page` or `page_size` is out of range or no whole number; raised before any query.

    Queries:
        One to count, one for the items and one for each relation the queryset prefetches.
        Past the end, only the one that counts.
    """
    if not isinstance(rows, QuerySet):
        check_page(page, page_size)
        return make_page(
            rows[offset(page, page_size) : offset(page + 1, page_size)], len(rows), page, page_size
        )
    check_page(page, page_size)
    total = counted(rows, count).at_least
    items = list(window(rows, page, page_size)) if offset(page, page_size) < total else []
    return make_page(items, total, page, page_size)


def paged(
    queryset: QuerySet[Any, Any],
    page: int,
    page_size: int,
    *,
    count: Literal["exact", "cached"],
    read: Callable[[QuerySet[Any, Any]], Generator[S, T, list[R]]],
) -> Generator[S, T, Page[R]]:
    """Return one page of `queryset`, whose items `read` makes in steps; else as `paginate`."""
    check_page(page, page_size)
    total = counted(queryset, count).at_least
    items: list[R] = []
    if offset(page, page_size) < total:
        items = yield from read(window(queryset, page, page_size))
    return make_page(items, total, page, page_size)


async def apaginate(
    rows: QuerySet[Any, R] | Sequence[R],
    page: int = 1,
    page_size: int = DEFAULT_PAGE_SIZE,
    *,
    count: Literal["exact", "cached"] = "exact",
) -> Page[R]:
    """Return one page of `rows`; the async twin of `paginate`."""
    if not isinstance(rows, QuerySet):
        return paginate(rows, page, page_size)
    check_page(page, page_size)
    total = (await acounted(rows, count)).at_least
    items = [row async for row in window(rows, page, page_size)] if offset(page, page_size) < total else []
    return make_page(items, total, page, page_size)


def paginate_open(
    rows: QuerySet[Any, R],
    page: int = 1,
    page_size: int = DEFAULT_PAGE_SIZE,
    *,
    count: Literal["capped", "estimated", "none"] = "capped",
) -> OpenPage[R]:
    """Return one page of `rows`, in an order that is total, without counting them all.

    Whether there is a next page is always true to the rows: one more than the page has is read.

    Args:
        page: From 1.
        page_size: Items on a page, 1 to 100.
        count: How to count; see `perfkit.api.counts.counted`.

    Raises:
        PageError: `page` or `page_size` is out of range or no whole number; raised before any query.

    Queries:
        One for the items, one for each relation the queryset prefetches, and those of `counted`.
    """
    check_page(page, page_size)
    found = counted(rows, count)
    items = [] if _is_past(found, page, page_size) else list(window(rows, page, page_size, more=1))
    return _open_page(items, found, page, page_size)


def paged_open(
    queryset: QuerySet[Any, Any],
    page: int,
    page_size: int,
    *,
    count: Literal["capped", "estimated", "none"],
    read: Callable[[QuerySet[Any, Any]], Generator[S, T, list[R]]],
) -> Generator[S, T, OpenPage[R]]:
    """Return one page of `queryset`, whose items `read` makes in steps; else as `paginate_open`."""
    check_page(page, page_size)
    found = counted(queryset, count)
    items: list[R] = []
    if not _is_past(found, page, page_size):
        items = yield from read(window(queryset, page, page_size, more=1))
    return _open_page(items, found, page, page_size)


async def apaginate_open(
    rows: QuerySet[Any, R],
    page: int = 1,
    page_size: int = DEFAULT_PAGE_SIZE,
    *,
    count: Literal["capped", "estimated", "none"] = "capped",
) -> OpenPage[R]:
    """Return one page of `rows`; the async twin of `paginate_open`."""
    check_page(page, page_size)
    found = await acounted(rows, count)
    items: list[R] = []
    if not _is_past(found, page, page_size):
        items = [row async for row in window(rows, page, page_size, more=1)]
    return _open_page(items, found, page, page_size)


def _is_past(found: Count, page: int, page_size: int) -> bool:
    return found.total is not None and offset(page, page_size) >= found.total


def _open_page(rows: Sequence[R], found: Count, page: int, page_size: int) -> OpenPage[R]:
    seen = offset(page, page_size) + len(rows) if rows else 0
    return OpenPage(
        list(rows[:page_size]),
        found.total,
        max(found.at_least, seen),
        found.estimate,
        page,
        page_size,
        has_next=len(rows) > page_size,
        has_prev=page > 1,
    )


def check_page(page: object, page_size: object) -> None:
    """Raise PageError where one of the two is no whole number in its range."""
    for field, value, most in (("page", page, MAX_PAGE), ("page_size", page_size, MAX_PAGE_SIZE)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise PageError(field, value, "is not a whole number.")
        if not 1 <= value <= most:
            raise PageError(field, value, f"is not between 1 and {most}.")


def offset(page: int, page_size: int) -> int:
    """Return how many rows stand before the page."""
    return (page - 1) * page_size


def window(queryset: QuerySet[Any, R], page: int, page_size: int, *, more: int = 0) -> QuerySet[Any, R]:
    """Return the lazy slice of the totally ordered queryset that is the page, and so many rows after it.

    A deep one is looked up late: the keys of its rows first, in a subquery that an index can answer alone,
    and only those rows are read and joined, instead of all that OFFSET skips.
    """
    ordered = total_order(queryset)
    first, after = offset(page, page_size), offset(page + 1, page_size) + more
    if first >= DEEP_OFFSET and _can_look_up_late(ordered):
        return ordered.filter(pk__in=ordered.values("pk")[first:after])
    return ordered[first:after]


def make_page(items: Sequence[R], total: int, page: int, page_size: int) -> Page[R]:
    """Return the envelope around `items`, which are already those of the page.

    Example:
        >>> make_page(["c"], 3, 2, 2)
        Page(items=['c'], total=3, page=2, page_size=2, total_pages=2, has_next=False, has_prev=True)
    """
    total_pages = -(-total // page_size)
    return Page(
        list(items), total, page, page_size, total_pages, has_next=page < total_pages, has_prev=page > 1
    )


def _can_look_up_late(queryset: QuerySet[Any, Any]) -> bool:
    """Whether each row of `queryset` is one row of its table, so that its key stands for it."""
    query = queryset.query
    if queryset._fields is not None or query.is_sliced:  # type: ignore[attr-defined]  # noqa: SLF001  # Django has no public name
        return False
    if query.distinct or query.combinator or query.group_by is not None or query.select_for_update:
        return False
    has_joins = sum(1 for count in query.alias_refcount.values() if count) > 1
    return not has_joins and connections[queryset.db].features.allow_sliced_subqueries_with_in
