"""The public call: many rows gone, with all that Django deletes along with them, or none."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connections, models, router, transaction

from perfkit.bulk.chunks import checked_size, chunks
from perfkit.bulk.plan import require_table
from perfkit.bulk.telling import told
from perfkit.conf import options
from perfkit.errors import RowShapeError, UsageError
from perfkit.signals import bulk_written


@dataclass(frozen=True)
class DeleteResult:
    """What a `bulk_delete` did.

    Attributes:
        rows: Keys read.
        unmatched: Those of them that the table had not, or no longer.
        deleted: Rows deleted from all tables.
        deleted_by_model: The same by the models' labels, as Django's `delete` tells them.
        seconds: Wall-clock time of the whole call, the reading of the keys included.
        rows_per_second: `rows / seconds`.
    """

    rows: int
    unmatched: int
    deleted: int
    deleted_by_model: Mapping[str, int]
    seconds: float
    rows_per_second: float


@told("delete")
def bulk_delete(
    model: type[models.Model],
    which: models.QuerySet[Any] | Iterable[Any],
    *,
    chunk_rows: int | None = None,
    using: str | None = None,
    progress: Callable[[int], object] | None = None,
) -> DeleteResult:
    """Delete rows by their keys, all of them or, where that is refused, none.

    It is Django's `delete` in chunks, with its signals, its cascades and what protects rows from them,
    within one transaction: one chunk is in memory at a time, and the progress is told.
    Without signals and cascades Django deletes a chunk in one statement.

    Args:
        model: The model of the rows.
        which: A queryset of the model, which may be a slice; or primary keys or instances, in any iterable.
        chunk_rows: Keys deleted at once; PERFKIT["BULK_INSERT_CHUNK_SIZE"] where not given,
            and never more than one statement of the database takes.
        using: The alias of the database; that of the queryset, or the router's choice, where not given.
        progress: Called after each chunk with the number of keys read so far.

    Raises:
        UnsupportedModelError: The model is abstract.
        UsageError: The queryset is one of another model, or of another database.
        RowShapeError: A key is None, or an instance is one of another model; nothing is deleted.
        ProtectedError, RestrictedError: As Django's `delete`; nothing is deleted.

    Queries:
        Two per chunk (a count, and the DELETE), and those of Django's cascades;
        of a queryset, which is read as it is deleted, one more.

    Example:
        >>> bulk_delete(Flight, Flight.objects.filter(year=2013)).rows  # doctest: +SKIP
        336776
    """
    started = time.perf_counter()
    size = checked_size(chunk_rows, options.BULK_INSERT_CHUNK_SIZE)
    require_table(model, "bulk_delete")
    own = which._db if isinstance(which, models.QuerySet) else None  # type: ignore[attr-defined]  # `db` may be a replica's
    alias = using or own or router.db_for_write(model)
    if isinstance(which, models.QuerySet):
        _require_rows_of(model, which, own or alias, alias)
        which = which.using(alias)
    most = connections[alias].features.max_query_params
    size = size if most is None else min(size, most)
    deleted: Counter[str] = Counter()
    rows = unmatched = 0
    with transaction.atomic(using=alias):
        for keys in chunks(_keys(model, which, size), size):
            found: models.QuerySet[Any] = models.QuerySet(model, using=alias).filter(pk__in=keys)
            unmatched += len(set(keys)) - found.count()
            deleted.update(found.delete()[1])
            rows += len(keys)
            if progress is not None:
                progress(rows)
    seconds = time.perf_counter() - started
    result = DeleteResult(
        rows=rows,
        unmatched=unmatched,
        deleted=deleted.total(),
        deleted_by_model=dict(deleted),
        seconds=seconds,
        rows_per_second=rows / seconds,
    )
    if bulk_written.receivers:
        bulk_written.send(model, call="delete", result=result)
    return result


def _require_rows_of(model: type[models.Model], queryset: models.QuerySet[Any], own: str, alias: str) -> None:
    if queryset.model._meta.concrete_model is not model._meta.concrete_model:
        raise UsageError(
            f"bulk_delete of {model._meta.label} got a queryset of {queryset.model._meta.label}."
        )
    if own != alias:
        raise UsageError(f"The queryset reads from {own!r}, and using says {alias!r}.")


def _keys(model: type[models.Model], which: models.QuerySet[Any] | Iterable[Any], size: int) -> Iterator[Any]:
    if not isinstance(which, models.QuerySet):
        return (_key(model, number, row) for number, row in enumerate(which))
    query = which.query
    has_own_order = query.is_sliced or query.distinct_fields or query.combinator
    rows = which if has_own_order else which.order_by("pk")
    return iter(rows.values_list("pk", flat=True).iterator(chunk_size=size))


def _key(model: type[models.Model], number: int, row: Any) -> Any:
    if isinstance(row, models.Model):
        if row._meta.concrete_model is not model._meta.concrete_model:
            raise RowShapeError(model._meta.label, number, f"is a {row._meta.label}.")
        row = row.pk
    if row is None:
        raise RowShapeError(model._meta.label, number, "has no key.")
    return row
