"""Rows read from a file: CSV or JSON lines, compressed or not, with the values that the model's fields take."""

from __future__ import annotations

import base64
import binascii
import bz2
import csv
import gzip
import json
import lzma
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, Final

from django.core.exceptions import ValidationError
from django.db import models
from django.forms.utils import from_current_timezone

from perfkit.bulk.fields import ModelField, family_of, target_of
from perfkit.bulk.plan import RowPlan, UnreadableRow
from perfkit.bulk.refusals import summary
from perfkit.errors import UsageError, nearest

OPENERS: Final[Mapping[str, Callable[[IO[bytes]], Any]]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
"""By a file's last suffix."""
FORMATS: Final[Mapping[str, str]] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
"""By the suffix before that."""
LARGEST_CELL: Final = 2**30
"""Characters; as much as PostgreSQL takes."""
TRUE: Final = frozenset({"t", "true", "1", "yes", "y", "on"})
FALSE: Final = frozenset({"f", "false", "0", "no", "n", "off"})

Row = dict[str, Any] | UnreadableRow
Converter = Callable[[Any], Any]


def decompressed(raw: IO[bytes], name: str) -> IO[bytes]:
    """Return what `raw`, a file of this name, holds, decompressed where its suffix says so."""
    opener = OPENERS.get(Path(name).suffix.lower())
    return raw if opener is None else opener(raw)


def format_of(name: str) -> str | None:
    """Return the format that a file's name tells: `csv` or `jsonl`; None where it tells none."""
    suffixes = [suffix.lower() for suffix in Path(name).suffixes if suffix.lower() not in OPENERS]
    return FORMATS.get(suffixes[-1]) if suffixes else None


class LineNumbers:
    """On which line of its file each row begins, from 1. Grows with the rows of several lines, not with all."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._gaps: list[int] = []

    def note(self, row: int, line: int) -> None:
        """Say that `row`, which is later than all before, begins at `line`."""
        gap = line - row
        if not self._gaps or gap != self._gaps[-1]:
            self._rows.append(row)
            self._gaps.append(gap)

    def line_of(self, row: int) -> int:
        """Return the line of a row that was noted."""
        return row + self._gaps[bisect_right(self._rows, row) - 1]


def csv_head(lines: Iterable[str], *, rows: int, delimiter: str = ",") -> tuple[list[str], list[list[str]]]:
    """Return the names in the first line of a CSV file, none where it is empty, and the cells of the first rows.

    Raises:
        UsageError: The file is not CSV up to there.
    """
    read = (cells for _, cells in _numbered_rows(lines, delimiter))
    return next(read, []), list(islice(read, rows))


def csv_rows(
    lines: Iterable[str],
    plan: RowPlan,
    *,
    delimiter: str = ",",
    null: str | None = None,
    renamed: Mapping[str, str] | None = None,
    left_out: Sequence[str] = (),
    holding: Mapping[str, ModelField] | None = None,
    texts: Collection[str] = (),
    line_numbers: LineNumbers | None = None,
    quotes_values: bool = False,
) -> Iterator[Row]:
    """Yield the rows of a CSV file whose first line names the fields.

    Args:
        lines: Of text, as from `open(path, newline="")`.
        null: The text that stands for NULL. Where not given, an empty cell does in columns that may be NULL,
            and in those that hold no text.
        renamed: The field's name by the name in the file.
        left_out: Names in the file of columns that are not read.
        holding: By the name in the file, the field whose values the cells of a column hold where those are not
            its own field's, as of a relation that is given by another field than the key.
        texts: Names, as `renamed` has them, that are those of no field in the table; their cells are yielded as
            they are.
        line_numbers: Is told the line of each row, from 0, before that is yielded.
        quotes_values: Whether what is said of a value that cannot be read may hold it: for its owner, not a log.

    Raises:
        UsageError: The first line names what is no field, or the same twice; before any row is yielded.
            Or the file is not CSV from some line on.
    """
    numbered = _numbered_rows(lines, delimiter)
    _, named = next(numbered, (0, None))
    if named is None:
        return
    names = [(renamed or {}).get(name, name) for name in named]
    places = [place for place, name in enumerate(named) if name not in left_out]
    _require_fields(plan, [names[place] for place in places if names[place] not in texts])
    kinds = {
        place: (holding or {}).get(named[place]) or _field(plan, names[place])
        for place in places
        if names[place] not in texts
    }
    cells = [(place, _key(plan, names[place]), _from_text(kinds.get(place), null)) for place in places]
    for number, (line, row) in enumerate(numbered):
        if line_numbers is not None:
            line_numbers.note(number, line)
        if len(row) == len(names):
            yield _read(cells, row, quotes_values=quotes_values)
        else:
            yield UnreadableRow(f"it has {len(row)} cells for {len(names)} columns.")


def _numbered_rows(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line and the cells of each row that is not empty, the names included.

    After an error nobody knows where the next row begins.

    Raises:
        UsageError: The file is not CSV.
    """
    csv.field_size_limit(max(csv.field_size_limit(), LARGEST_CELL))
    source = iter(lines)
    lines = chain([next(source, "").removeprefix("\ufeff")], source)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)  # else an open quote takes all that follows
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UsageError(f"Line {reader.line_num} of the file is not CSV: {error}.") from None
        if row:
            yield line, row


def jsonl_rows(
    lines: Iterable[str], plan: RowPlan, *, line_numbers: LineNumbers | None = None
) -> Iterator[Row]:
    """Yield the rows of a file with one JSON object in each line, whose keys are fields; empty lines are none.

    Args:
        line_numbers: As of `csv_rows`.
    """
    converters: dict[str, Converter] = {}
    filled = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    for row_number, (line_number, line) in enumerate(filled):
        if line_numbers is not None:
            line_numbers.note(row_number, line_number)
        try:
            row = json.loads(line)
        except ValueError as error:
            yield UnreadableRow(f"the line is not JSON: {error}.")
            continue
        if not isinstance(row, dict):
            yield UnreadableRow(f"the line holds {summary(row)}, and not an object.")
            continue
        for name in row:
            if name not in converters and name in plan.places:
                converters[name] = _from_json(_field(plan, name))
        yield _read([(name, _key(plan, name), converters.get(name, _as_it_is)) for name in row], row)


def _read(cells: Sequence[tuple[Any, str, Converter]], row: Any, *, quotes_values: bool = False) -> Row:
    values: dict[str, Any] = {}
    for place, name, convert in cells:
        value = row[place]
        try:
            values[name] = convert(value)
        except (ValueError, TypeError, ArithmeticError, ValidationError, RecursionError) as error:
            problem = f"{summary(value)} cannot be read."
            if quotes_values and isinstance(error, ValidationError):
                problem = " ".join(error.messages)
            return UnreadableRow(problem, name, summary(value))
    return values


def _require_fields(plan: RowPlan, names: Sequence[str]) -> None:
    for name in names:
        if name not in plan.places:
            raise UsageError(
                f"The column {name!r} is no field of {plan.label}.{nearest(name, list(plan.places))}"
            )
    places = [plan.places[name] for name in names if plan.places[name] is not None]
    if len(set(places)) < len(places):
        raise UsageError(f"Two columns of the file are the same field of {plan.label}.")


def _key(plan: RowPlan, name: str) -> str:
    """Return the key of a row's value: of a relation that of its id, for files hold no instances."""
    field = _field(plan, name) if name in plan.places else None
    return name if field is None else field.attname


def _field(plan: RowPlan, name: str) -> ModelField | None:
    place = plan.places[name]
    return None if place is None else plan.columns[place].field


def _from_text(field: ModelField | None, null: str | None) -> Converter:
    """Return what makes a value of a cell."""
    if field is None:
        return _as_it_is
    convert = _from_json(field, is_text=True)
    target = target_of(field)
    empty_is_null = field.null or family_of(field) != "text"
    none = {""} if null is None and empty_is_null else set() if null is None else {null}
    if family_of(field) == "text" and not isinstance(target, models.JSONField):
        return lambda cell: None if cell in none else cell
    return lambda cell: None if cell in none else convert(cell)


def _from_json(field: ModelField | None, *, is_text: bool = False) -> Converter:
    """Return what makes a value of what JSON, or a cell, can say."""
    if field is None:
        return _as_it_is
    target = target_of(field)
    if isinstance(target, models.JSONField):
        return (lambda text: json.loads(text, cls=target.decoder)) if is_text else _as_it_is
    if isinstance(target, models.BinaryField):
        return lambda text: None if text is None else _bytes(text)
    if isinstance(target, models.BooleanField):
        return _truth
    if isinstance(target, models.DateTimeField):
        return lambda value: _aware(target.to_python(value))
    return target.to_python


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text[2:]) if text.startswith("\\x") else base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _truth(value: Any) -> Any:
    if isinstance(value, str):
        word = value.strip().lower()
        return True if word in TRUE else False if word in FALSE else value
    return value


def _aware(moment: Any) -> Any:
    """Return `moment`, of the current time zone where it names none and the site has zones."""
    from django.conf import settings

    if moment is not None and settings.USE_TZ:
        return from_current_timezone(moment)  # refuses those that no clock shows, or that one shows twice
    return moment


def _as_it_is(value: Any) -> Any:
    return value
