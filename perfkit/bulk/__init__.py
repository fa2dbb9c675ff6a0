"""Writing many rows at the speed of the database."""

from perfkit.bulk.insert import InsertResult, bulk_insert
from perfkit.bulk.refusals import RowDataError, RowIntegrityError

__all__ = ["InsertResult", "RowDataError", "RowIntegrityError", "bulk_insert"]
