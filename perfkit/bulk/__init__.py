"""Writing many rows at the speed of the database."""

from perfkit.bulk.insert import InsertResult, bulk_insert
from perfkit.bulk.refusals import RowDataError, RowIntegrityError
from perfkit.bulk.update import UpdateResult, bulk_update

__all__ = ["InsertResult", "RowDataError", "RowIntegrityError", "UpdateResult", "bulk_insert", "bulk_update"]
