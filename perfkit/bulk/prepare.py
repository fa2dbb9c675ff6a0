"""Making the values of a column ready to send: a check of the whole, and Django's methods where it fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import NoneType
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.bulk.explain import ROWS, note
from perfkit.bulk.kinds import Kind
from perfkit.bulk.plan import Batch
from perfkit.bulk.refusals import RowDataError, summary
from perfkit.bulk.shapes import REFUSED_VALUE, Column, Values


class NeedsStatementError(Exception):
    """Only a statement made by Django can write these rows; caught inside this room.

    Args:
        field: The name of the field that asks for it.
        reason: Why, for `explain=True`.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        note(field, f"{reason}: Django writes these chunks", is_final=True)


def prepared_batch(batch: Batch, kind_of: Callable[[Column], Kind], connection: BaseDatabaseWrapper) -> Batch:
    """Return `batch` with its values as they are sent.

    Args:
        kind_of: What the database takes for a column; raises NeedsStatementError where that is not known.

    Raises:
        RowDataError: A value does not fit; nothing of this batch was sent.
        NeedsStatementError: Only Django can write these rows.
    """
    if not batch.columns:
        raise NeedsStatementError(ROWS, "nothing but the next number of a sequence")
    values = [
        prepared(column, kind_of(column), given, numbers=batch.numbers, connection=connection)
        for column, given in zip(batch.columns, batch.values, strict=True)
    ]
    return replace(batch, values=values)


def prepared(
    column: Column, kind: Kind, values: Values, *, numbers: Sequence[int], connection: BaseDatabaseWrapper
) -> Values:
    """Return `values` as they are sent.

    Where all have the column's type and range they go out as they are; else Django's `get_db_prep_save` sees each.

    Args:
        numbers: For the message: each value's row.

    Raises:
        RowDataError: A value does not fit; nothing of this batch was sent.
        NeedsStatementError: A value is an expression, or a field of your own prepares what only SQL can take.
    """
    if column.is_plain:
        fitting = kind.checked(values)
        if fitting is not None:
            return fitting
        if kind.exact:
            others = ", ".join(
                sorted(each.__name__ for each in {*map(type, values)} - kind.exact - {NoneType})
            )
            which = f"values of {others}" if others else "values that may not fit"
            note(column.field.name, f"{which}: Django's field sees each of them")
    else:
        note(
            column.field.name,
            f"{type(column.field).__name__} prepares its values itself: it sees each of them",
        )
    return [
        _prepare(column, kind, value, number, connection)
        for number, value in zip(numbers, values, strict=True)
    ]


def _prepare(column: Column, kind: Kind, value: Any, number: int, connection: BaseDatabaseWrapper) -> Any:
    field = column.field
    if hasattr(value, "resolve_expression"):
        raise NeedsStatementError(field.name, "an expression")
    try:
        ready = field.get_db_prep_save(value, connection=connection)
    except REFUSED_VALUE:
        raise RowDataError(number, field.name, _refusal(field, value), summary(value)) from None
    if ready is None:
        return None
    if hasattr(ready, "resolve_expression"):
        raise NeedsStatementError(field.name, f"{type(field).__name__} makes an expression of a value")
    try:
        return kind.mold(ready)
    except (ValueError, TypeError, ArithmeticError) as error:
        if not column.is_plain:
            reason = f"{type(field).__name__} prepares what only SQL can take"
            raise NeedsStatementError(field.name, reason) from error
        raise RowDataError(number, field.name, f"{summary(ready)} {error}.", summary(ready)) from None


def _refusal(field: models.Field[Any, Any], value: object) -> str:
    return f"{summary(value)} is not what {type(field).__name__} takes."
