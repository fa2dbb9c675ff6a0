"""What an upsert made of its rows. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Word = Literal["created", "updated", "untouched"]


@dataclass(frozen=True, slots=True)
class UpsertedRow:
    """What became of one row.

    Attributes:
        pk: Of the row in the table; None where the database does not tell.
    """

    pk: Any
    outcome: Word


@dataclass
class Outcome:
    """What became of some rows.

    Attributes:
        by_number: The same row by row, where that is wanted.
    """

    created: int = 0
    updated: int = 0
    untouched: int = 0
    by_number: dict[int, UpsertedRow] = field(default_factory=dict)

    def add_counts(self, other: Outcome) -> None:
        """Count the rows of `other` too."""
        self.created += other.created
        self.updated += other.updated
        self.untouched += other.untouched

    def add(self, other: Outcome) -> None:
        """Take the rows of `other` in."""
        self.add_counts(other)
        self.by_number |= other.by_number

    def count(self, word: Word) -> None:
        """Count one row."""
        setattr(self, word, getattr(self, word) + 1)

    def tell(self, number: int, row: UpsertedRow) -> None:
        """Count one row and keep it."""
        self.count(row.outcome)
        self.by_number[number] = row
