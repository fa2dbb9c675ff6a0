"""Upserting by prepared statements that run once per row, inside the process (SQLite)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.db import DataError, IntegrityError

from perfkit.bulk.chunks import ChunkWriter, Single
from perfkit.bulk.conflict import AnyConflict, Clause, Conflict
from perfkit.bulk.explain import ROWS
from perfkit.bulk.fields import has_placeholder
from perfkit.bulk.outcomes import Outcome, UpsertedRow, Word
from perfkit.bulk.parts import Part, in_parts
from perfkit.bulk.plan import Batch
from perfkit.bulk.prepare import NeedsStatementError, prepared_batch
from perfkit.bulk.queryset_upserter import mark_saved, read_pk
from perfkit.bulk.sequence import keys_of
from perfkit.bulk.shapes import REFUSED_VALUE, Row
from perfkit.bulk.statements import Counted, kind_for_driver, unbindable
from perfkit.bulk.translate import field_of, refusal


class ParameterUpserter(Single):
    """Writes rows with one prepared `INSERT … ON CONFLICT`, and counts which keys were there before.

    Queries: three per chunk and set of filled and of changed columns; two per row where they are returned.
    One before them takes the file's only place for a writer, for a transaction that has read before it writes
    cannot wait for it.

    Args:
        singly: Writes the rows that this way cannot send.
        return_rows: Whether the outcome is told row by row.
    """

    def __init__(
        self, conflict: Conflict | AnyConflict, singly: ChunkWriter[Row, Outcome], *, return_rows: bool
    ) -> None:
        self.conflict = conflict
        self.plan = conflict.plan
        self.connection = conflict.connection
        self.return_rows = return_rows
        self.methods: set[str] = set()
        self._singly = singly
        self._kinds = {column: kind_for_driver(column) for column in self.plan.columns}
        self._is_served = not any(has_placeholder(column.field) for column in self.plan.columns)
        quote = self.connection.ops.quote_name
        self._table = quote(self.plan.model._meta.db_table)
        self._pk = quote(self.plan.pk_columns[0].name)
        self._key = [quote(column.name) for column in conflict.key.columns]

    def begin(self) -> None:
        """Become the file's writer."""
        with self.connection.cursor() as cursor:
            cursor.execute(f"UPDATE {self._table} SET {self._pk} = {self._pk} WHERE 0")  # noqa: S608  # quoted names

    def write(self, rows: list[Row], *, first_row: int) -> Outcome:
        """Write one chunk.

        Raises:
            RowShapeError: A row is not one of the model's.
            RowDataError: A value does not fit.
            RowIntegrityError: A row breaks a constraint.
        """
        try:
            parts = self._parts(rows, first_row)
        except NeedsStatementError:
            outcome = self._singly.write(rows, first_row=first_row)
            self.methods |= self._singly.methods
            return outcome
        self.methods.add("upsert")
        outcome = Outcome()
        for part in parts:
            outcome.add(self._told(part) if self.return_rows else self._counted(part))
        mark_saved(self.plan, rows, outcome, using=self.connection.alias)
        return outcome

    def _parts(self, rows: Sequence[Row], first_row: int) -> list[Part]:
        if not self._is_served:
            raise NeedsStatementError(ROWS, "a field wraps its value in SQL of its own")
        if self.return_rows and self.plan.pk is None:
            raise NeedsStatementError(ROWS, "keys of several parts are told")
        changed = [
            self.conflict.changed(self.plan.given(row, number)) for number, row in enumerate(rows, first_row)
        ]
        batches = self.plan.batches(rows, first_row=first_row)
        ready = [prepared_batch(batch, self._kinds.__getitem__, self.connection) for batch in batches]
        return in_parts(self.conflict, ready, changed)

    def _counted(self, part: Part) -> Outcome:
        """Write all rows of a part, and count."""
        keys = keys_of(part.batch, self.conflict.key.columns)
        whole = [key for key in keys if None not in key]
        try:
            wanted = json.dumps(whole, allow_nan=False)
        except (TypeError, ValueError):  # bytes, or what is no number: not in JSON
            return replace(self._told(part), by_number={})
        before = self._count(wanted) if self._key else 0
        statement = self._statement(part)
        sent = Counted(row + statement.parameters for row in zip(*part.batch.values, strict=True))
        with self._refusals_told(part.batch, sent), self.connection.cursor() as cursor:
            cursor.executemany(statement.sql, sent)  # type: ignore[arg-type]  # any iterable will do
            written = int(cursor.rowcount)
        if not self._key:
            return Outcome(created=written, untouched=len(keys) - written)
        created = self._count(wanted) - before + len(keys) - len(whole)
        return Outcome(created, written - created, len(keys) - written)

    def _count(self, keys: str) -> int:
        """Return how many rows of the table have one of these keys (JSON), as the database compares them."""
        names = ", ".join(self._key)
        values = ", ".join(f"value ->> {place}" for place in range(len(self._key)))
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT count(*) FROM {self._table} "  # noqa: S608  # quoted names
                f"WHERE ({names}) IN (SELECT {values} FROM json_each(%s))",
                [keys],
            )
            return int(cursor.fetchone()[0])

    def _told(self, part: Part) -> Outcome:
        """Write the rows of a part one by one, and tell what became of each."""
        look = (
            f"SELECT {self._pk} FROM {self._table} "  # noqa: S608  # quoted names
            f"WHERE {' AND '.join(f'{name} = %s' for name in self._key)}"
        )
        statement = self._statement(part)
        keys = keys_of(part.batch, self.conflict.key.columns)
        outcome = Outcome()
        sent = Counted(zip(*part.batch.values, strict=True))
        with self._refusals_told(part.batch, sent), self.connection.cursor() as cursor:
            for number, key, row in zip(part.batch.numbers, keys, sent, strict=True):
                found = None if None in key else cursor.execute(look, key).fetchone()
                cursor.execute(statement.sql, row + statement.parameters)
                word: Word = "created" if found is None else "updated" if cursor.rowcount else "untouched"
                pk = found[0] if found else self._own_pk(cursor, part.batch, row)
                outcome.tell(number, UpsertedRow(read_pk(self.plan, self.connection, pk), word))
        return outcome

    def _statement(self, part: Part) -> Clause:
        quote = self.connection.ops.quote_name
        names = ", ".join(quote(column.name) for column in part.batch.columns)
        marks = ", ".join(["%s"] * len(part.batch.columns))
        clause = self.conflict.clause(part.changed)
        return Clause(
            f"INSERT INTO {self._table} ({names}) VALUES ({marks}) {clause.sql}",  # noqa: S608  # quoted names
            clause.parameters,
        )

    @contextmanager
    def _refusals_told(self, batch: Batch, sent: Counted) -> Iterator[None]:
        try:
            yield
        except (DataError, IntegrityError) as error:
            number = batch.numbers[sent.position]
            raise refusal(error, number, field_of(error, self.plan.model)) from error
        except REFUSED_VALUE as error:  # a value that the driver cannot bind
            raise unbindable(batch, sent.position, error) from None

    def _own_pk(self, cursor: Any, batch: Batch, row: Sequence[Any]) -> Any:
        if self.plan.pk in batch.columns:
            return row[batch.columns.index(self.plan.pk)]
        return cursor.lastrowid
