"""What every bulk call does around its chunks: cuts them from any iterable, and opens the one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.bulk.plan import RowPlan
from perfkit.conf import options
from perfkit.errors import UsageError

T = TypeVar("T")


def checked_size(chunk_rows: int | None) -> int:
    """Return how many rows are sent at once.

    Raises:
        UsageError: It is not positive.
    """
    size = options.BULK_INSERT_CHUNK_SIZE if chunk_rows is None else chunk_rows
    if size < 1:
        raise UsageError(f"chunk_rows must be at least 1, not {size}.")
    return size


def chunks(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of at most `size` rows; `rows` is consumed once."""
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk


def is_own(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a call on `connection` has its transaction for itself."""
    return connection.get_autocommit() and not connection.in_atomic_block


@contextmanager
def one_transaction(plan: RowPlan, connection: BaseDatabaseWrapper, *, is_own: bool) -> Iterator[None]:
    """Open a transaction, or a savepoint in the caller's where it is not this call's own.

    Django declares foreign keys to be checked at COMMIT, when no row is at hand any more.
    In a transaction that is this call's alone they are checked with each chunk,
    unless the table refers to itself, and a later row may be what an earlier one needs.
    """
    with transaction.atomic(using=connection.alias):
        if is_own and connection.vendor == "postgresql" and not plan.refers_to_itself:
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        yield
