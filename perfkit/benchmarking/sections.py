"""What was measured, as plain values: columns with units, rows, and what is to be said about them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Cell = str | int | float | None
"""None where nothing was measured."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Args:
        key: Its name in JSON, with the unit.
        title: For people.
        unit: `""` for a text.
        digits: After the point.
    """

    key: str
    title: str
    unit: str = ""
    digits: int = 2

    @property
    def heading(self) -> str:
        """The title with the unit."""
        return f"{self.title} [{self.unit}]" if self.unit else self.title

    def text(self, value: Cell) -> str:
        """Return a cell as people read it."""
        if value is None:
            return "-"
        if isinstance(value, str):
            return value
        return f"{value:,}" if isinstance(value, int) else f"{value:,.{self.digits}f}"


@dataclass(frozen=True, slots=True)
class Chart:
    """Which columns are drawn as bars against each other, row by row.

    Args:
        title: What it shows.
        label: The column of names.
        bars: The columns that are drawn.
    """

    title: str
    label: str
    bars: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One table.

    Args:
        name: In JSON.
        how: How it was measured, in sentences.
        warnings: What the project should look at.
        notes: What was left out, and why.
    """

    name: str
    title: str
    how: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Cell]]
    chart: Chart | None = None
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()

    def texts(self) -> list[list[str]]:
        """Return the table as texts, its headings first."""
        lines = [[column.heading for column in self.columns]]
        return lines + [[column.text(row.get(column.key)) for column in self.columns] for row in self.rows]

    def as_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "name": self.name,
            "title": self.title,
            "how": self.how,
            "columns": [asdict(column) for column in self.columns],
            "rows": [{column.key: row.get(column.key) for column in self.columns} for row in self.rows],
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def ratio(before: float | None, after: float | None) -> float | None:
    """Return how many times less `after` is than `before`, None where one of them is not known or nothing."""
    return before / after if before is not None and after else None
