"""The bulk calls as methods of managers and querysets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any, TypeVar

from django.db import models, router

from perfkit.bulk.copy_out import CopyResult, bulk_copy_out
from perfkit.bulk.delete import DeleteResult, bulk_delete
from perfkit.bulk.insert import InsertResult, bulk_insert
from perfkit.bulk.shapes import Row
from perfkit.bulk.update import UpdateResult, bulk_update
from perfkit.bulk.upsert import UpsertResult, bulk_upsert

M = TypeVar("M", bound=models.Model)


class BulkQuerySetMixin(models.QuerySet[M]):
    """Adds the bulk calls to a queryset, on its model and its database.

    The options are those of the functions. What they write does not depend on the queryset's filters;
    `bulk_delete_rows` and `bulk_copy_out` are about its own rows. Django's `bulk_update` stays Django's.

    Example:
        >>> class Product(models.Model):  # doctest: +SKIP
        ...     objects = BulkManager()
        >>> Product.objects.bulk_insert([{"name": "tea"}])  # doctest: +SKIP
    """

    def bulk_insert(self, rows: Iterable[Row], **options: Any) -> InsertResult:
        """Insert `rows`; see `bulk_insert`."""
        return bulk_insert(self.model, rows, **{"using": self._written_database} | options)

    def bulk_upsert(self, rows: Iterable[Row], **options: Any) -> UpsertResult:
        """Insert or update `rows`; see `bulk_upsert`."""
        return bulk_upsert(self.model, rows, **{"using": self._written_database} | options)

    def bulk_update_rows(self, updates: Iterable[Any], **options: Any) -> UpdateResult:
        """Update rows by their keys; see `bulk_update`."""
        return bulk_update(self.model, updates, **{"using": self._written_database} | options)

    def bulk_delete_rows(self, **options: Any) -> DeleteResult:
        """Delete the rows of this queryset; see `bulk_delete`."""
        return bulk_delete(self.model, self, **options)

    def bulk_copy_out(self, file: IO[bytes], **options: Any) -> CopyResult:
        """Write the rows of this queryset into a file; see `bulk_copy_out`."""
        return bulk_copy_out(self, file, **options)

    @property
    def _written_database(self) -> str:
        return self._db or router.db_for_write(self.model, **self._hints)  # type: ignore[attr-defined]  # as QuerySet.db does


class BulkQuerySet(BulkQuerySetMixin[M]):
    """A queryset with the bulk calls."""


class BulkManager(models.Manager.from_queryset(BulkQuerySet)):  # type: ignore[misc]  # made when it runs
    """A manager with the bulk calls."""
