"""The errors about one row, as subclasses of Django's own, so that `except IntegrityError` catches them."""

from __future__ import annotations

from collections.abc import Sized

from django.db import DatabaseError, DataError, IntegrityError


def summary(value: object) -> str:
    """Say what `value` is without saying it: its type, and its length or size."""
    kind = type(value).__name__
    article = "an" if kind[0].lower() in "aeiou" else "a"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{article} {kind} of {value.bit_length()} bits"
    if isinstance(value, str):
        return f"{article} {kind} of {len(value)} characters"
    if isinstance(value, Sized):
        return f"{article} {kind} of length {len(value)}"
    return f"{article} {kind}"


class RowError(DatabaseError):
    """What the errors about one row share.

    Attributes:
        row_number: The row's position in the input, from 0; None where the database does not tell,
            as for a foreign key that it checks at COMMIT.
        field: The name of the model's field; None where it is not one field alone, or not known.
        problem: What is wrong, without any value.
        value_summary: The type and size of the value at fault; None where it is not one value alone, or not known.
    """

    def __init__(
        self, row_number: int | None, field: str | None, problem: str, value_summary: str | None = None
    ) -> None:
        super().__init__(row_number, field, problem, value_summary)
        self.row_number = row_number
        self.field = field
        self.problem = problem
        self.value_summary = value_summary

    def __str__(self) -> str:
        row = "A row" if self.row_number is None else f"Row {self.row_number} (from 0)"
        return f"{row}{f', field {self.field!r}' if self.field else ''}: {self.problem}"


class RowDataError(RowError, DataError):
    """A value does not fit its column; nothing of the call was written.

    Correct the row and call again. The text names types and sizes, never values.
    """


class RowIntegrityError(RowError, IntegrityError):
    """A row breaks a constraint; nothing of the call was written.

    Correct the row, or what it refers to, and call again. `__cause__` is the database's own error.
    """
