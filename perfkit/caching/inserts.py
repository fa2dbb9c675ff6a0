"""Which values an INSERT of Django's gives to the columns of its rows, read from its text and parameters. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from perfkit.caching.registry import DeclaredColumn

DJANGOS_INSERT: Final = re.compile(
    r"""INSERT\ INTO\ "(?P<table>[^"]+)"\ \((?P<columns>"[^"]+"(?:,\ "[^"]+")*)\)
        \ (?:VALUES\ (?P<rows>\(.*\))|SELECT\ \*\ FROM\ UNNEST\((?P<arrays>.*)\))
        (?:\ RETURNING\ [^%]*)?""",
    re.VERBOSE | re.DOTALL,
)
ARRAY: Final = re.compile(r"\(%s\)::[\w ]+\[\]")
"""A column of many rows in one parameter, as Django sends it to PostgreSQL."""
MARK: Final = "%s"


class Insert(NamedTuple):
    """An INSERT whose values are all parameters, or left to the database.

    Args:
        table: As the statement has it, without quotes.
        positions: Of columns, in the parameters of a row.
        width: Parameters in a row; None where each column of all rows is one parameter, a list.
    """

    table: str
    positions: dict[str, int]
    width: int | None

    def values(self, columns: Sequence[DeclaredColumn], params: object) -> list[Sequence[object]] | None:
        """Return the values of each of `columns` in all rows, None where the statement does not give them."""
        if not isinstance(params, Sequence) or isinstance(params, str):
            return None
        places = [self.positions.get(column.name) for column in columns]
        if None in places:
            return None
        if self.width is None:
            return [params[place] for place in places if place is not None]
        if not self.width or len(params) % self.width:
            return None
        return [params[place :: self.width] for place in places if place is not None]


def insert_of(sql: str) -> Insert | None:
    """Return what an INSERT says, None where it is not of Django's form, or its rows differ in theirs."""
    match = DJANGOS_INSERT.fullmatch(sql)
    if match is None or "%%" in sql:
        return None
    columns = [name[1:-1] for name in match["columns"].split(", ")]
    if match["arrays"] is not None:
        arrays = match["arrays"].split(", ")
        if len(arrays) != len(columns) or not all(map(ARRAY.fullmatch, arrays)):
            return None
        return Insert(match["table"], {name: number for number, name in enumerate(columns)}, None)
    first = _first_row(match["rows"])
    cells = [] if first is None else _cells(first)
    if first is None or len(cells) != len(columns) or not _is_repeated(first, match["rows"]):
        return None
    positions = {}
    width = 0
    for name, cell in zip(columns, cells, strict=True):
        if cell == MARK:
            positions[name] = width
        width += cell.count(MARK)
    return Insert(match["table"], positions, width)


def _first_row(rows: str) -> str | None:
    """Return the first of rows in brackets, None where a quote could hide a bracket."""
    if "'" in rows or '"' in rows:
        return None
    depth = 0
    for position, character in enumerate(rows):
        depth += (character == "(") - (character == ")")
        if not depth:
            return rows[: position + 1]
    return None


def _cells(row: str) -> list[str]:
    """Return the parts of a row between the commas that stand in no inner bracket."""
    cells = [""]
    depth = 0
    for character in row[1:-1]:
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            cells.append("")
        else:
            cells[-1] += character
    return [cell.strip() for cell in cells]


def _is_repeated(row: str, rows: str) -> bool:
    count = (len(rows) + 2) // (len(row) + 2)
    return rows == ", ".join([row] * count)
