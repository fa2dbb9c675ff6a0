"""An uploaded file into the table: tried first and taken back, then in earnest."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from django.db import DatabaseError, connections, models, router, transaction

from perfkit.admin.cleaning import CleanRow, RowCleaner, Values
from perfkit.admin.forms import INSERT, UPDATE, Way
from perfkit.bulk import (
    InsertResult,
    SkippedRow,
    UpdateResult,
    UpsertResult,
    bulk_insert,
    bulk_update,
    bulk_upsert,
)
from perfkit.bulk.chunks import OnError, chunks
from perfkit.bulk.dry_run import taken_back
from perfkit.bulk.files import LineNumbers, csv_rows
from perfkit.bulk.plan import compile_plan
from perfkit.bulk.refusals import RowError
from perfkit.errors import UsageError

CHUNK_ROWS: Final = 1000
MOST_ERRORS: Final = 200
"""Beyond so many a file is not read on: whoever made it has to look at it anyway."""
SHOWN_ROWS: Final = 10


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
        first_rows: The values of the first rows as they are written, by the fields' `attname`.
    """

    created: int = 0
    updated: int = 0
    untouched: int = 0
    errors: list[LineError] = field(default_factory=list)
    is_cut: bool = False
    is_done: bool = False
    first_rows: list[Values] = field(default_factory=list)

    @property
    def counts(self) -> list[int]:
        """What is compared with what was confirmed: rows created, updated, left alone, and errors."""
        return [self.created, self.updated, self.untouched, len(self.errors)]

    @property
    def written(self) -> int:
        """Rows created and updated."""
        return self.created + self.updated


class _RefusedError(Exception):
    """A row is refused where none may be."""


class Importer:
    """Reads the rows of one file and writes them by one of the bulk calls.

    Args:
        text: The whole file.
        field_names: The field's name by the name in the file, empty for what is left out.
        skips_bad_rows: Whether rows that are refused are left out; else nothing is written where one is.
    """

    def __init__(
        self,
        model: type[models.Model],
        text: str,
        *,
        delimiter: str,
        field_names: Mapping[str, str],
        way: Way,
        skips_bad_rows: bool,
        cleaner: RowCleaner,
    ) -> None:
        self._model = model
        self._plan = compile_plan(model)
        self._text = text
        self._delimiter = delimiter
        self._field_names = field_names
        self._columns = {name: column for column, name in field_names.items() if name}
        self._way = way
        self._skips_bad_rows = skips_bad_rows
        self._cleaner = cleaner
        self._alias = router.db_for_write(model)
        self._start()

    def check(self) -> ImportReport:
        """Write all rows that can be, tell what that came to, and take it back."""
        self._start()
        try:
            with taken_back(self._plan, self._alias):
                for chunk in chunks(self._rows(self._is_full), CHUNK_ROWS):
                    self._write(chunk, on_error="report")
                    if self._is_full():
                        break
        except (DatabaseError, UsageError) as error:
            self._undo_counts()
            self._tell(error)
        self.report.is_cut = self._is_full()
        return self.report

    def run(self, expected: Sequence[int]) -> ImportReport:
        """Write the rows: all of them or, where bad rows are not skipped and there is one, none.

        Args:
            expected: The counts of the report that was confirmed; where it comes to others, nothing is written.
        """
        self._start()
        try:
            with transaction.atomic(using=self._alias):
                self._write(self._rows(self._refuses), on_error="report" if self._skips_bad_rows else "raise")
                connections[self._alias].check_constraints(table_names=[self._model._meta.db_table])
                self.report.is_done = list(expected) == self.report.counts
                if not self.report.is_done:
                    transaction.set_rollback(True, using=self._alias)
        except (DatabaseError, UsageError, _RefusedError) as error:
            self._undo_counts()
            self._tell(error)
        return self.report

    def _undo_counts(self) -> None:
        self.report.created = self.report.updated = self.report.untouched = 0

    def _start(self) -> None:
        self.report = ImportReport()
        self._lines = LineNumbers()
        self._written_rows = 0

    def _is_full(self) -> bool:
        return len(self.report.errors) > MOST_ERRORS

    def _refuses(self) -> bool:
        if self.report.errors and not self._skips_bad_rows:
            raise _RefusedError
        return False

    def _rows(self, ends: Callable[[], bool]) -> Iterator[Values]:
        """Yield the rows that are right as far as can be seen, until `ends()`; note the others, and the lines."""
        read = LineNumbers()
        renamed = {column: name for column, name in self._field_names.items() if name}
        rows = csv_rows(
            io.StringIO(self._text, newline=""),
            self._plan,
            delimiter=self._delimiter,
            renamed=renamed,
            left_out=[column for column in self._field_names if column not in renamed],
            line_numbers=read,
            quotes_values=True,
        )
        number = yielded = 0
        for chunk in chunks(rows, CHUNK_ROWS):
            for outcome in self._cleaner.cleaned(chunk):
                line = read.line_of(number)
                number += 1
                if not isinstance(outcome, CleanRow):
                    for problem in outcome:
                        self._refuse(line, problem.field, problem.text)
                    continue
                self._lines.note(yielded, line)
                yielded += 1
                if len(self.report.first_rows) < SHOWN_ROWS:
                    self.report.first_rows.append(outcome.values)
                yield outcome.values
            if ends():
                return

    def _write(self, rows: Any, *, on_error: OnError) -> None:
        result: InsertResult | UpdateResult | UpsertResult
        first_row = self._written_rows
        if self._way.kind == INSERT:
            result = bulk_insert(self._model, rows, on_error=on_error, using=self._alias)
            self.report.created += result.rows
        elif self._way.kind == UPDATE:
            pk = self._model._meta.pk.attname
            pairs = ((row[pk], {name: row[name] for name in row if name != pk}) for row in rows)
            result = bulk_update(self._model, pairs, on_error=on_error, using=self._alias)
            self.report.updated += result.updated
        else:
            result = bulk_upsert(
                self._model,
                rows,
                conflict_columns=self._way.key,
                skip_unchanged=True,
                on_error=on_error,
                using=self._alias,
            )
            self.report.created += result.created
            self.report.updated += result.updated
            self.report.untouched += result.untouched
        self._written_rows += len(rows) if isinstance(rows, list) else 0
        self._tell_skipped(result.skipped, first_row)

    def _tell_skipped(self, skipped: Sequence[SkippedRow], first_row: int) -> None:
        for row in skipped:
            self._refuse(self._lines.line_of(first_row + row.row_number), row.field, row.reason)
        self.report.errors.sort(key=lambda error: error.line or 0)

    def _tell(self, error: Exception) -> None:
        if isinstance(error, RowError):
            line = None if error.row_number is None else self._lines.line_of(error.row_number)
            self._refuse(line, error.field, error.problem)
        elif not isinstance(error, _RefusedError):
            said = str(error).partition("\n")[0]  # below that the values of other rows may stand
            self._refuse(None, None, said)

    def _refuse(self, line: int | None, field: str | None, problem: str) -> None:
        self.report.errors.append(LineError(line, self._columns.get(field or "", ""), problem))
