"""PostgreSQL's binary COPY, the fastest way in, one per chunk.

# Note [One COPY per chunk]

A connection can do nothing else while a COPY is open.
The rows of a chunk are read and prepared before it opens and it ends with the chunk,
so that the caller's generator, a callable default or a `pre_save` may query the same connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Final

from django.db import DataError, IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit import signals
from perfkit.bulk.fields import family_of, has_placeholder
from perfkit.bulk.foreign_keys import ForeignKeys
from perfkit.bulk.plan import Batch, RowPlan
from perfkit.bulk.prepare import NeedsStatementError, prepared
from perfkit.bulk.refusals import RowDataError, summary
from perfkit.bulk.shapes import Column, Row
from perfkit.bulk.statements import InstanceWriter
from perfkit.bulk.table import CopyTarget, copy_targets, own_sequence
from perfkit.bulk.translate import copy_refusal

ID_FAMILIES: Final = frozenset({"integer", "text", "uuid"})
"""A primary key of these reads back as it was sent."""


class CopyWriter:
    """Writes chunks by COPY, and by INSERT what COPY cannot serve.

    Queries: One about the table at the first chunk, one more about its sequence where ids are wanted.
    Then one COPY per chunk and set of filled columns, and one draw of ids per chunk.

    Args:
        foreign_keys: Checks them instead of the triggers where it can; None leaves them to the triggers.
    """

    def __init__(
        self,
        plan: RowPlan,
        connection: BaseDatabaseWrapper,
        *,
        return_ids: bool,
        foreign_keys: ForeignKeys | None = None,
    ) -> None:
        self.plan = plan
        self.connection = connection
        self.return_ids = return_ids
        self.foreign_keys = foreign_keys
        self.methods: set[str] = set()
        self._inserts = InstanceWriter(plan, connection)
        self._targets: Mapping[str, CopyTarget] | None = None
        self._sequence: str | None = None
        self._has_sent = False

    def begin(self) -> None:
        """Look at the foreign keys anew, and tell of the rows anew."""
        self._has_sent = False
        if self.foreign_keys is not None:
            self.foreign_keys.begin()

    def close(self) -> None:
        """Nothing is held."""

    def write(self, rows: list[Row], *, first_row: int) -> list[Any]:
        """Write one chunk and return its ids in order; without `return_ids` the list is empty.

        Raises:
            RowDataError: A value does not fit.
            RowIntegrityError: A row breaks a constraint.
        """
        if self._targets is None:
            self._targets = self._look_at_table()
        try:
            batches = self._prepared(rows, self._targets, first_row)
        except NeedsStatementError:
            ids = self._inserts.write(rows, first_row=first_row)
            self.methods |= self._inserts.methods
            return ids if self.return_ids else []
        for batch in batches:
            self._copy(batch, self._targets)
        self.methods.add("copy")
        return self._know_ids(rows, batches, first_row)

    def _look_at_table(self) -> Mapping[str, CopyTarget]:
        targets = copy_targets(self.connection, self.plan.model)
        if self.return_ids:
            self._sequence = own_sequence(self.connection, self.plan.model)
        is_served = self._can_know_ids() and all(_can_copy(column, targets) for column in self.plan.columns)
        return targets if is_served else {}

    def _can_know_ids(self) -> bool:
        pk = self.plan.pk
        if not self.return_ids:
            return True
        if pk is None or (pk.is_omittable and self._sequence is None):
            return False
        return pk.is_plain and family_of(pk.field) in ID_FAMILIES

    def _prepared(
        self, rows: Sequence[Row], targets: Mapping[str, CopyTarget], first_row: int
    ) -> list[Batch]:
        if not targets:
            raise NeedsStatementError
        batches = self.plan.batches(rows, first_row=first_row)
        if not all(batch.columns for batch in batches):
            raise NeedsStatementError  # nothing but a sequence's next value
        return [
            replace(
                batch,
                values=[
                    prepared(
                        column,
                        targets[column.name].kind,
                        values,
                        numbers=batch.numbers,
                        connection=self.connection,
                    )
                    for column, values in zip(batch.columns, batch.values, strict=True)
                ],
            )
            for batch in map(self._with_drawn_ids, batches)
        ]

    def _with_drawn_ids(self, batch: Batch) -> Batch:
        if not self.return_ids or self.plan.pk is None or self.plan.pk in batch.columns:
            return batch
        count = len(batch.numbers)
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT nextval(%s::regclass) FROM generate_series(1, %s)", [self._sequence, count]
            )
            ids = [row[0] for row in cursor.fetchall()]
        return replace(batch, columns=[self.plan.pk, *batch.columns], values=[ids, *batch.values])

    def _copy(self, batch: Batch, targets: Mapping[str, CopyTarget]) -> None:
        quote = self.connection.ops.quote_name
        names = ", ".join(quote(column.name) for column in batch.columns)
        statement = f"COPY {quote(self.plan.model._meta.db_table)} ({names}) FROM STDIN (FORMAT BINARY)"
        oids = [targets[column.name].oid for column in batch.columns]
        try:
            with (
                self.connection.cursor() as cursor,
                self.connection.wrap_database_errors,
                self._keys_checked(cursor, batch),
            ):
                self._send(cursor, statement, batch, oids)
        except RowDataError:
            raise
        except (DataError, IntegrityError) as error:
            raise copy_refusal(error, batch, self.plan.model) from error
        if not self._has_sent:
            self._has_sent = True
            signals.rows_written.send(
                self.plan.model, using=self.connection.alias, operation="insert", pks=None
            )

    def _keys_checked(self, cursor: Any, batch: Batch) -> AbstractContextManager[bool]:
        return (
            self.foreign_keys.checked(cursor, batch) if self.foreign_keys else nullcontext(enter_result=False)
        )

    def _send(self, cursor: Any, statement: str, batch: Batch, oids: Sequence[int]) -> None:
        position = 0
        row: tuple[Any, ...] = ()
        try:
            with cursor.copy(statement) as copy:
                copy.set_types(oids)
                write_row = copy.write_row
                for position, row in enumerate(zip(*batch.values, strict=True)):  # noqa: B007  # read below
                    write_row(row)
        except (ValueError, TypeError, OverflowError) as error:  # a value that psycopg cannot make binary
            column, value = self._undumpable(cursor, batch.columns, row, oids)
            problem = f"{summary(value)} cannot be sent ({type(error).__name__})."
            raise RowDataError(batch.numbers[position], column.field.name, problem, summary(value)) from None

    @staticmethod
    def _undumpable(
        cursor: Any, columns: Sequence[Column], row: Sequence[Any], oids: Sequence[int]
    ) -> tuple[Column, Any]:
        from psycopg.pq import Format

        for column, value, oid in zip(columns, row, oids, strict=True):
            dumper = cursor.adapters.get_dumper_by_oid(oid, Format.BINARY)
            try:
                if value is not None:
                    dumper(type(value), cursor.connection).dump(value)
            except (ValueError, TypeError, OverflowError):
                return column, value
        return columns[0], None

    def _know_ids(self, rows: Sequence[Row], batches: Sequence[Batch], first_row: int) -> list[Any]:
        """Mark instances whose key is known as saved, and return the ids in the order of `rows`."""
        pk = self.plan.pk
        ids: list[Any] = [None] * len(rows)
        if pk is None or not (self.return_ids or self.plan.has_instances(rows)):
            return []
        for batch in batches:
            if pk in batch.columns:
                values = batch.values[batch.columns.index(pk)]
                for number, value in zip(batch.numbers, values, strict=True):
                    ids[number - first_row] = value
        self.plan.mark_saved(rows, ids, using=self.connection.alias)
        return ids if self.return_ids else []


def _can_copy(column: Column, targets: Mapping[str, CopyTarget]) -> bool:
    target = targets.get(column.name)
    if target is None or has_placeholder(column.field):
        return False
    return not column.is_plain or target.kind.family == family_of(column.field)
