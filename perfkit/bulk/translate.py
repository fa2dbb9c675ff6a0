"""From the database's error to the error about a row: which row, which field, and no values in the text. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from django.db import DatabaseError, IntegrityError, models

from perfkit.bulk.plan import Batch
from perfkit.bulk.refusals import RowDataError, RowError, RowIntegrityError, summary

COPY_CONTEXT: Final = r"\D*(?P<line>\d+)(?:, \w+ (?P<column>.+))?"
"""After the table's name: `, line 3, column code`, in the server's language."""
KEY_DETAIL: Final = re.compile(r"\((?P<columns>[^()]+)\)=\((?P<values>.*)\)")
"""`Key (airline_id)=(ZZ) is not present …`, in the server's language."""
QUOTED_VALUE: Final = re.compile(r': "[^"]*"')
SQLITE_COLUMNS: Final = re.compile(r"constraint failed: (?P<columns>[\w.]+(?:, [\w.]+)*)$")


def copy_refusal(error: DatabaseError, batch: Batch, model: type[models.Model]) -> RowError:
    """Return the error about the row that made a COPY of `batch` fail with `error`."""
    diagnosis = getattr(error.__cause__, "diag", None)
    table = re.escape(model._meta.db_table.rsplit(".", 1)[-1].strip('"'))
    context = re.search(table + COPY_CONTEXT, getattr(diagnosis, "context", None) or "")
    detail = KEY_DETAIL.search(getattr(diagnosis, "message_detail", None) or "")
    column = _column_at_fault(diagnosis, context, detail)
    if context:
        number: int | None = batch.numbers[int(context["line"]) - 1]
    else:
        number = _row_with(batch, column, detail["values"]) if detail else None
    return refusal(error, number, field_name(model, column), _value_in(batch, number, column))


def refusal(
    error: DatabaseError, number: int | None, field: str | None, value_summary: str | None = None
) -> RowError:
    """Return the error about row `number` that says what the database said, without the row's values."""
    diagnosis = getattr(error.__cause__, "diag", None)
    said = getattr(diagnosis, "message_primary", None) or str(error).partition("\n")[0]
    kind = RowIntegrityError if isinstance(error, IntegrityError) else RowDataError
    told = f" ({value_summary})" if value_summary else ""
    return kind(number, field, QUOTED_VALUE.sub("", said) + told, value_summary)


def field_of(error: DatabaseError, model: type[models.Model]) -> str | None:
    """Return the field that `error`, of a statement about rows of `model`, is about; None where not known."""
    diagnosis = getattr(error.__cause__, "diag", None)
    if diagnosis is not None:
        detail = KEY_DETAIL.search(diagnosis.message_detail or "")
        return field_name(model, _column_at_fault(diagnosis, None, detail))
    match = SQLITE_COLUMNS.search(str(error))
    columns = match["columns"].split(", ") if match else []
    return field_name(model, columns[0].rpartition(".")[2]) if len(columns) == 1 else None


def field_name(model: type[models.Model], column: str | None) -> str | None:
    """Return the name of the field stored in `column`."""
    return next((field.name for field in model._meta.concrete_fields if field.column == column), None)


def _column_at_fault(
    diagnosis: Any, context: re.Match[str] | None, detail: re.Match[str] | None
) -> str | None:
    if diagnosis is not None and diagnosis.column_name:
        return str(diagnosis.column_name)
    if context and context["column"]:
        return context["column"]
    return detail["columns"] if detail and ", " not in detail["columns"] else None


def _place(batch: Batch, column: str | None) -> int | None:
    return next((place for place, each in enumerate(batch.columns) if each.field.column == column), None)


def _row_with(batch: Batch, column: str | None, text: str) -> int | None:
    """Return the first row whose value in `column` reads as `text`."""
    place = _place(batch, column)
    if place is None:
        return None
    pairs = zip(batch.numbers, batch.values[place], strict=True)
    return next((number for number, value in pairs if str(value) == text), None)


def _value_in(batch: Batch, number: int | None, column: str | None) -> str | None:
    place = _place(batch, column)
    if number is None or place is None:
        return None
    numbers: Sequence[int] = batch.numbers
    return summary(batch.values[place][numbers.index(number)])
