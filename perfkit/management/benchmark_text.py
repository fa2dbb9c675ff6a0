"""What `perfkit_benchmark` prints: tables with what is to be said about them, and the same as JSON. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from perfkit.benchmarking.environment import Environment
from perfkit.benchmarking.sections import Section

WIDTH = 110


def environment_lines(found: Environment, doubts: Sequence[str]) -> Iterator[str]:
    """Yield where it ran, and what makes its figures doubtful."""
    lines = found.lines()
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        yield f"{name.ljust(width)}  {value}"
    for each in doubts:
        yield from _paragraph("! ", each)


def section_lines(section: Section) -> Iterator[str]:
    """Yield a table under its title, then how it was measured, warnings and notes."""
    yield ""
    yield section.title
    yield "-" * len(section.title)
    yield from _table(section)
    yield ""
    yield from _paragraph("", section.how)
    for each in section.warnings:
        yield from _paragraph("! ", each)
    for each in section.notes:
        yield from _paragraph("- ", each)


def report_json(found: Environment, doubts: Sequence[str], sections: Sequence[Section]) -> dict[str, Any]:
    """Return the whole report as values that JSON has."""
    return {
        "environment": found.as_json(),
        "doubts": list(doubts),
        "sections": [section.as_json() for section in sections],
    }


def _table(section: Section) -> Iterator[str]:
    """Yield the table: the unit below each title, texts to the left and numbers to the right."""
    titles = [[column.title for column in section.columns], [column.unit for column in section.columns]]
    lines = titles + section.texts()[1:]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    are_texts = [
        any(isinstance(row.get(column.key), str) for row in section.rows) for column in section.columns
    ]
    for line in lines:
        cells = [
            cell.ljust(width) if is_text else cell.rjust(width)
            for cell, width, is_text in zip(line, widths, are_texts, strict=True)
        ]
        yield "  ".join(cells).rstrip()


def _paragraph(mark: str, text: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=mark, subsequent_indent=" " * len(mark), break_on_hyphens=False
    )
