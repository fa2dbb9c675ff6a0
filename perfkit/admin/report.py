"""What an import did, or would do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from django.utils.translation import gettext, ngettext

from perfkit.admin.rows import Values


class LineError(NamedTuple):
    """What is wrong in one line of the file.

    Attributes:
        line: From 1; None where nobody knows which.
        column: The name in the file, "" where it is not one column alone.
    """

    line: int | None
    column: str
    problem: str


@dataclass
class ImportReport:
    """What an import did, or would do.

    Attributes:
        is_cut: Whether the file was not read to its end, for its errors are too many.
        is_done: Whether what it tells was written, and stays.
        first_rows: The values of the first rows as they are written, by the fields' `attname`; by the number of
            the row among those that are.
    """

    created: int = 0
    updated: int = 0
    untouched: int = 0
    errors: list[LineError] = field(default_factory=list)
    is_cut: bool = False
    is_done: bool = False
    first_rows: dict[int, Values] = field(default_factory=dict)

    @property
    def counts(self) -> list[int]:
        """What is compared with what was confirmed: rows created, updated, left alone, and errors."""
        return [self.created, self.updated, self.untouched, len(self.errors)]

    @property
    def written(self) -> int:
        """Rows created and updated."""
        return self.created + self.updated

    def told(self, name: str) -> str:
        """Return in a sentence what the import of the file `name` did."""
        counts = {
            "created": self.created,
            "updated": self.updated,
            "untouched": self.untouched,
            "name": name,
        }
        text = gettext("%(name)s: %(created)s created, %(updated)s updated, %(untouched)s left as they were")
        lines = len({error.line for error in self.errors})
        refused = ngettext("%(count)s row refused", "%(count)s rows refused", lines) % {"count": lines}
        return f"{text % counts}, {refused}." if lines else f"{text % counts}."
