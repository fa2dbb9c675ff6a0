"""An uploaded file into the table: tried first and taken back, then in earnest."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from django.db import DatabaseError, connections, models, router, transaction

from perfkit.admin.cleaning import RowCleaner
from perfkit.admin.columns import Fields
from perfkit.admin.links import Links
from perfkit.admin.own_table import OwnTable, Reference
from perfkit.admin.report import ImportReport, LineError
from perfkit.admin.rows import CleanRow, Problem, Values
from perfkit.admin.ways import Way
from perfkit.admin.writing import write_rows
from perfkit.bulk import SkippedRow
from perfkit.bulk.chunks import OnError, chunks
from perfkit.bulk.dry_run import taken_back
from perfkit.bulk.files import LineNumbers, Row, csv_rows
from perfkit.bulk.plan import compile_plan
from perfkit.bulk.refusals import RowError
from perfkit.errors import UsageError

CHUNK_ROWS: Final = 1000
MOST_ERRORS: Final = 200
"""Beyond so many a file is not read on: whoever made it has to look at it anyway."""
SHOWN_ROWS: Final = 10


class _RefusedError(Exception):
    """A row is refused where none may be."""


class _LostError(Exception):
    """Rows refer within their table to what is not there."""

    def __init__(self, references: Collection[Reference]) -> None:
        super().__init__()
        self.references = references


class Importer:
    """Reads the rows of one file and writes them by one of the bulk calls.

    Args:
        text: The whole file.
        field_names: The field's name by the name in the file, empty for what is left out.
        given_by: By the name of a relation, the field whose values its column has in place of the key.
        skips_bad_rows: Whether rows that are refused are left out; else nothing is written where one is.
    """

    def __init__(
        self,
        model: type[models.Model],
        text: str,
        *,
        delimiter: str,
        field_names: Mapping[str, str],
        given_by: Fields,
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
        self._holding = {self._columns[name]: by for name, by in given_by.items()}
        self._way = way
        self._skips_bad_rows = skips_bad_rows
        self._cleaner = cleaner
        self._alias = router.db_for_write(model)
        self._within = {relation.name: relation for relation in cleaner.relations if relation.is_within}
        self._many: list[Any] = [field for field in cleaner.fields.values() if field.many_to_many]
        written = [model, *(field.remote_field.through for field in self._many)]
        self._tables = [each._meta.db_table for each in written]
        self._start({})

    def check(self) -> ImportReport:
        """Write all rows that can be, tell what that came to, and take it back."""
        return self._repeated(self._check)

    def run(self, expected: Sequence[int]) -> ImportReport:
        """Write the rows: all of them or, where bad rows are not skipped and there is one, none.

        Args:
            expected: The counts of the report that was confirmed; where it comes to others, nothing is written.
        """
        return self._repeated(partial(self._run, expected))

    def _repeated(self, attempt: Callable[[], None]) -> ImportReport:
        """Try until no row is left that refers to nothing. See Note [References within a table]."""
        lost: dict[int, list[str]] = {}
        while True:
            self._start(lost)
            try:
                attempt()
            except _LostError as error:
                lost |= self._own_table.at_fault(error.references)
            else:
                return self.report

    def _check(self) -> None:
        try:
            with taken_back(self._plan, self._alias):
                for chunk in chunks(self._rows(self._is_full), CHUNK_ROWS):
                    self._write(chunk, on_error="report")
                    if self._is_full():
                        break
                else:
                    self._require_references()
                    self._write_links()
        except (DatabaseError, UsageError) as error:
            self._undo_counts()
            self._tell(error)
        self.report.is_cut = self._is_full()

    def _run(self, expected: Sequence[int]) -> None:
        try:
            with transaction.atomic(using=self._alias):
                self._write(self._rows(self._refuses), on_error="report" if self._skips_bad_rows else "raise")
                self._require_references()
                self._write_links()
                connections[self._alias].check_constraints(table_names=self._tables)
                self.report.is_done = list(expected) == self.report.counts
                if not self.report.is_done:
                    transaction.set_rollback(True, using=self._alias)
        except (DatabaseError, UsageError, _RefusedError) as error:
            self._undo_counts()
            self._tell(error)

    def _require_references(self) -> None:
        missing = self._own_table.missing()
        if missing:
            raise _LostError(missing)

    def _undo_counts(self) -> None:
        self.report.created = self.report.updated = self.report.untouched = 0
        self.report.is_done = False

    def _start(self, lost: Mapping[int, Sequence[str]]) -> None:
        """Forget an earlier attempt, but for the relations that are wrong in these lines."""
        self._lost = lost
        self._links = Links(self._many, self._alias)
        self._own_table = OwnTable(list(self._within.values()), self._alias)
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
        self._cleaner.begin(self._read(self._cleaner.names_before))
        read = LineNumbers()
        number = yielded = 0
        for chunk in chunks(self._read(self._columns, line_numbers=read), CHUNK_ROWS):
            for outcome in self._cleaner.cleaned(chunk):
                line = read.line_of(number)
                number += 1
                problems = outcome if not isinstance(outcome, CleanRow) else self._lost_problems(line)
                if problems or not isinstance(outcome, CleanRow):
                    for problem in problems:
                        self._refuse(line, problem.field, problem.text)
                    continue
                self._own_table.note(yielded, line, outcome.values)
                self._links.note(yielded, outcome.links)
                self._lines.note(yielded, line)
                if yielded < SHOWN_ROWS:
                    links = {name: frozenset(keys) for name, keys in outcome.links.items()}
                    self.report.first_rows[yielded] = outcome.values | links
                yielded += 1
                yield outcome.values
            if ends():
                return

    def _read(self, names: Collection[str], line_numbers: LineNumbers | None = None) -> Iterator[Row]:
        """Yield the rows of the file, with these fields alone."""
        renamed = {column: name for column, name in self._field_names.items() if name in names}
        return csv_rows(
            io.StringIO(self._text, newline=""),
            self._plan,
            delimiter=self._delimiter,
            renamed=renamed,
            left_out=[column for column in self._field_names if column not in renamed],
            holding=self._holding,
            texts=[field.name for field in self._many],
            line_numbers=line_numbers,
            quotes_values=True,
        )

    def _lost_problems(self, line: int) -> list[Problem]:
        return [Problem(name, self._within[name].problem) for name in self._lost.get(line, ())]

    def _write(self, rows: Any, *, on_error: OnError) -> None:
        first_row = self._written_rows
        written = write_rows(
            self._model, rows, self._way, on_error=on_error, using=self._alias, tells_rows=bool(self._many)
        )
        self.report.created += written.created
        self.report.updated += written.updated
        self.report.untouched += written.untouched
        self._written_rows += len(rows) if isinstance(rows, list) else 0
        if self._many:
            self._links.written(written.rows, first_row=first_row)
        self._tell_skipped(written.skipped, first_row)

    def _write_links(self) -> None:
        changed = self._links.write()
        self.report.updated += changed
        self.report.untouched -= changed

    def _tell_skipped(self, skipped: Sequence[SkippedRow], first_row: int) -> None:
        for row in skipped:
            number = first_row + row.row_number
            self.report.first_rows.pop(number, None)
            self._own_table.drop(number)
            self._refuse(self._lines.line_of(number), row.field, row.reason)
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
