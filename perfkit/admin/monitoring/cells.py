"""What a page is made of: tables of cells, and tiles; their forms, without any figure. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from django.utils.translation import gettext as _

from perfkit.admin.monitoring.figures import duration, whole
from perfkit.monitoring.figures import CacheFigures, QueryFigures, RequestFigures, TaskFigures, Timing

SHORT_TEXT: Final = 140
OTHER: Final = "other"
"""What a page of the ledger had no room for: many things under one name."""


class Links(NamedTuple):
    """Addresses of what figures lead to; empty where somebody may not go there."""

    view: Callable[[RequestFigures], str]
    statement: Callable[[QueryFigures], str]
    reads: Callable[[CacheFigures], str]
    task: Callable[[TaskFigures], str]
    queue: Callable[[str], str]
    dead: Callable[[str], str]


class Cell(NamedTuple):
    """One cell: its text, where it leads, and what stands small below it."""

    text: str
    link: str = ""
    notes: tuple[str, ...] = ()
    is_code: bool = False
    is_text: bool = False


class Heading(NamedTuple):
    """Of a column."""

    text: str
    is_number: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first cell of each row is its heading.

    Attributes:
        name: For addresses within the page.
        advice: What to do about what it shows.
        more: How many rows were left out.
    """

    name: str
    caption: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]
    advice: str = ""
    more: int = 0


class Tile(NamedTuple):
    """One figure, and the part of the page that says more."""

    name: str
    text: str
    link: str


def table(
    name: str,
    caption: str,
    advice: str,
    headings: Sequence[Heading],
    rows: Sequence[tuple[Cell, ...]],
    *,
    left: int = 0,
) -> Table:
    """Return a table; `left` is how many rows there are, of which these are the first."""
    aligned = tuple(
        tuple(
            cell._replace(is_text=not heading.is_number) for cell, heading in zip(row, headings, strict=True)
        )
        for row in rows
    )
    return Table(name, caption, tuple(headings), aligned, advice, max(0, left - len(rows)))


def numbers(name: str, caption: str, heading: str, found: Mapping[str, int]) -> Table:
    """Return a table of numbers by name, the most first."""
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return table(
        name,
        caption,
        "",
        [Heading(heading, is_number=False), Heading(_("Number"))],
        [(Cell(each), Cell(whole(number))) for each, number in ordered],
    )


def quantiles(timing: Timing) -> tuple[Cell, Cell, Cell]:
    """Return the cells of P50, P95 and P99."""
    return (
        Cell(duration(timing.p50_seconds)),
        Cell(duration(timing.p95_seconds)),
        Cell(duration(timing.p99_seconds)),
    )


def shortened(text: str) -> str:
    """Return a text that is not too long for a table: its beginning and its end.

    Example:
        >>> len(shortened("x" * 1000)), shortened("SELECT ?")
        (140, 'SELECT ?')
    """
    if len(text) <= SHORT_TEXT:
        return text
    head = SHORT_TEXT * 2 // 3
    return f"{text[:head]}…{text[head + 1 - SHORT_TEXT :]}"
