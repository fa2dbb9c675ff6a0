"""Writing many rows at the speed of the database."""

from perfkit.bulk.asynchronous import abulk_copy_out, abulk_delete, abulk_insert, abulk_update, abulk_upsert
from perfkit.bulk.chunks import SkippedRow
from perfkit.bulk.copy_out import CopyResult, bulk_copy_out
from perfkit.bulk.delete import DeleteResult, bulk_delete
from perfkit.bulk.excluded import Excluded
from perfkit.bulk.insert import InsertResult, bulk_insert
from perfkit.bulk.manager import BulkManager, BulkQuerySet, BulkQuerySetMixin
from perfkit.bulk.outcomes import UpsertedRow
from perfkit.bulk.refusals import RowDataError, RowIntegrityError
from perfkit.bulk.update import UpdateResult, bulk_update
from perfkit.bulk.upsert import UpsertResult, bulk_upsert

__all__ = [
    "BulkManager",
    "BulkQuerySet",
    "BulkQuerySetMixin",
    "CopyResult",
    "DeleteResult",
    "Excluded",
    "InsertResult",
    "RowDataError",
    "RowIntegrityError",
    "SkippedRow",
    "UpdateResult",
    "UpsertResult",
    "UpsertedRow",
    "abulk_copy_out",
    "abulk_delete",
    "abulk_insert",
    "abulk_update",
    "abulk_upsert",
    "bulk_copy_out",
    "bulk_delete",
    "bulk_insert",
    "bulk_update",
    "bulk_upsert",
]
