"""Writing many rows at the speed of the database."""

from perfkit.bulk.chunks import SkippedRow
from perfkit.bulk.conflict import Excluded
from perfkit.bulk.delete import DeleteResult, bulk_delete
from perfkit.bulk.insert import InsertResult, bulk_insert
from perfkit.bulk.outcomes import UpsertedRow
from perfkit.bulk.refusals import RowDataError, RowIntegrityError
from perfkit.bulk.update import UpdateResult, bulk_update
from perfkit.bulk.upsert import UpsertResult, bulk_upsert

__all__ = [
    "DeleteResult",
    "Excluded",
    "InsertResult",
    "RowDataError",
    "RowIntegrityError",
    "SkippedRow",
    "UpdateResult",
    "UpsertResult",
    "UpsertedRow",
    "bulk_delete",
    "bulk_insert",
    "bulk_update",
    "bulk_upsert",
]
