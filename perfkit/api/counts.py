"""How many rows a list has, where counting them all would take longer than the page itself."""

from __future__ import annotations

import json
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args

from asgiref.sync import sync_to_async
from django.db import connections
from django.db.models import Model, QuerySet

from perfkit.caching.queryset import as_cached
from perfkit.errors import UsageError, nearest

M = TypeVar("M", bound=Model)

Counting = Literal["exact", "cached", "capped", "estimated", "none"]
EXACT: Final = ("exact", "cached")

COUNT_CAP: Final = 10_000
"""Rows that are counted one by one; of more there are "at least so many"."""


class Count(NamedTuple):
    """What is known of the number of rows.

    Args:
        total: All of them; None where they were not counted to the end.
        at_least: So many there are for certain.
        estimate: What the database expects, which filters may make wrong many times over; None where it was not
            asked.
    """

    total: int | None
    at_least: int
    estimate: int | None = None


def checked_counting(how: str) -> Counting:
    """Return a way to count, if it is one.

    Raises:
        UsageError: It is none.
    """
    if how not in get_args(Counting):
        raise UsageError(f"count={how!r} is no way to count.{nearest(how, get_args(Counting))}")
    return how  # type: ignore[return-value]  # one of them


def counted(queryset: QuerySet[Any, Any], how: Counting) -> Count:
    """Return what is to be known of the number of rows.

    Args:
        how: `"exact"` counts; `"cached"` does so once, until a row of the tables is written;
            `"capped"` counts to 10,000; `"estimated"` does too, and asks the database for an estimate where there
            are more (PostgreSQL; others count all); `"none"` asks nothing.

    Queries:
        One; none for `"none"` and for a count that is cached; two for a list that is estimated.
    """
    if how == "none":
        return Count(None, 0)
    if how == "cached":
        total = as_cached(queryset, ttl=None).count()
        return Count(total, total)
    connection = connections[queryset.db]
    if how == "exact" or (how == "estimated" and connection.vendor != "postgresql"):
        total = queryset.count()
        return Count(total, total)
    plain = queryset.order_by()
    found = plain[: COUNT_CAP + 1].count()
    if found <= COUNT_CAP:
        return Count(found, found)
    if how == "capped":
        return Count(None, found)
    return Count(None, found, max(found, _estimate(plain)))


async def acounted(queryset: QuerySet[Any, Any], how: Counting) -> Count:
    """Return what is to be known of the number of rows; the async twin of `counted`."""
    return await sync_to_async(counted)(queryset, how)


def _estimate(queryset: QuerySet[Any, Any]) -> int:
    """Return how many rows PostgreSQL expects; it plans the query, and does not run it."""
    [plan] = json.loads(queryset.explain(format="json"))
    return int(plan["Plan"]["Plan Rows"])
