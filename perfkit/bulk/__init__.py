"""Writing many rows at the speed of the database."""

from perfkit.bulk.delete import DeleteResult, bulk_delete
from perfkit.bulk.insert import InsertResult, bulk_insert
from perfkit.bulk.refusals import RowDataError, RowIntegrityError
from perfkit.bulk.update import UpdateResult, bulk_update

__all__ = [
    "DeleteResult",
    "InsertResult",
    "RowDataError",
    "RowIntegrityError",
    "UpdateResult",
    "bulk_delete",
    "bulk_insert",
    "bulk_update",
]
