"""The rows of an upsert, divided so that each part is one statement. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perfkit.bulk.conflict import AnyConflict, Conflict
from perfkit.bulk.plan import Batch
from perfkit.bulk.prepare import NeedsStatementError
from perfkit.bulk.sequence import divided, in_order, repeats


@dataclass(frozen=True)
class Part:
    """Rows of different keys that fill the same columns, and change the same where they exist.

    Attributes:
        changed: Places of columns in the plan.
    """

    batch: Batch
    changed: tuple[int, ...]


def in_parts(
    conflict: Conflict | AnyConflict, batches: Sequence[Batch], changed: Sequence[tuple[int, ...]]
) -> list[Part]:
    """Divide the rows of a chunk by what they fill, by what they change, and by equal keys.

    Args:
        changed: What each row of the chunk changes.

    Raises:
        NeedsStatementError: A row leaves a part of its key to a default of the database.
    """
    key = conflict.key
    for column in key.columns:
        if column.field.has_db_default() and any(column not in batch.columns for batch in batches):
            raise NeedsStatementError(column.field.name, "its default in the database is part of the key")
    first_row = min(batch.numbers[0] for batch in batches)

    def change_of(number: int) -> tuple[int, ...]:
        return changed[number - first_row]

    repeated = repeats(batches, key.columns, has_equal_nulls=key.has_equal_nulls)
    if not repeated and len(set(changed)) == 1 and len(batches) == 1:
        return [Part(batch, changed[0]) for batch in batches]
    if any(keeps_order(conflict, batch) for batch in batches):
        parts = in_order(batches, key.columns, change_of, has_equal_nulls=key.has_equal_nulls)
    else:
        parts = divided(batches, repeated, change_of)
    return [Part(batch, change) for batch, change in parts]


def keeps_order(conflict: Conflict | AnyConflict, batch: Batch) -> bool:
    """Tell whether rows go as they come, for they may meet each other in another unique constraint too."""
    key = frozenset(conflict.key.columns)
    return not key or any(each != key and each & set(batch.columns) for each in conflict.plan.unique_sets)
