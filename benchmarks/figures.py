"""What a benchmark says: figures with goals, tables, and how both are written. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        goal: What it must reach, or None where it is only told.
        better: Which way is better.
    """

    name: str
    value: float
    unit: str
    goal: float | None
    better: Literal["higher", "lower"]

    @property
    def falls_short(self) -> bool:
        """Whether the goal is missed."""
        if self.goal is None:
            return False
        return self.value < self.goal if self.better == "higher" else self.value > self.goal

    def __str__(self) -> str:
        sign = "≥" if self.better == "higher" else "≤"
        goal = (
            ""
            if self.goal is None
            else f" (goal {sign} {number(self.goal)}{', MISSED' if self.falls_short else ''})"
        )
        return f"{self.name}: {number(self.value)} {self.unit}{goal}"


@dataclass(frozen=True)
class Report:
    """What one room measured.

    Attributes:
        setting: What was measured, in a sentence.
        lines: A table for people, its head first.
    """

    room: str
    setting: str
    lines: Sequence[Sequence[str]]
    figures: Sequence[Figure]

    def text(self) -> str:
        """Return the report as people read it."""
        return "\n".join([self.setting, "", *aligned(self.lines), "", *map(str, self.figures)])

    def as_json(self, environment: dict[str, Any]) -> dict[str, Any]:
        """Return the report as it is written to a file."""
        return {
            "room": self.room,
            "setting": self.setting,
            "environment": environment,
            "figures": [asdict(figure) for figure in self.figures],
            "table": [list(line) for line in self.lines],
        }


def number(value: float) -> str:
    """Return `value` with as many digits as mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table in columns, the first to the left and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
