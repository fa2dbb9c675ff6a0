"""Which columns of a call take the slow way, and why: `explain=True`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from perfkit.making import own_of_a_run

ROWS: Final = "(rows)"
"""In the place of a field's name, where the reason is no one column's."""

_notes: Final[ContextVar[dict[str, str] | None]] = own_of_a_run(
    ContextVar("perfkit_bulk_notes", default=None)
)


@contextmanager
def noting(*, is_wanted: bool) -> Iterator[dict[str, str] | None]:
    """Collect what is noted within the block, by the name of the field; None where that is not wanted.

    A call within a call has notes of its own.
    """
    notes: dict[str, str] | None = {} if is_wanted else None
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)


def note(field: str, reason: str, *, is_final: bool = False) -> None:
    """Say why a column takes the slow way; the first reason stays, unless another one `is_final`."""
    notes = _notes.get()
    if notes is not None and (is_final or field not in notes):
        notes[field] = reason
