"""PostgreSQL's binary COPY, the fastest way in. See Note [One COPY for many chunks] in `sending`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Final

from django.db import DataError, IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit import signals
from perfkit.bulk.copy_buffer import CopyBuffer
from perfkit.bulk.explain import ROWS
from perfkit.bulk.fields import family_of, has_placeholder
from perfkit.bulk.foreign_keys import ForeignKeys
from perfkit.bulk.kinds import Kind
from perfkit.bulk.plan import Batch, RowPlan
from perfkit.bulk.prepare import NeedsStatementError, prepared_batch
from perfkit.bulk.refusals import RowDataError
from perfkit.bulk.sending import Sending
from perfkit.bulk.shapes import Column, Row
from perfkit.bulk.statements import InstanceWriter
from perfkit.bulk.table import CopyTarget, Ids, copy_targets, own_sequence
from perfkit.bulk.translate import copy_refusal

FIRST_BYTES: Final = 2**17
"""So much must be there for a first COPY, so that the server begins soon; twice as much for each after it."""
ENOUGH_BYTES: Final = 2**20
"""As much as is ever waited for."""
ID_FAMILIES: Final = frozenset({"integer", "text", "uuid"})
"""A primary key of these reads back as it was sent."""


class CopyWriter:
    """Writes chunks by COPY, and by INSERT what COPY cannot serve.

    Queries: One about the table at the first chunk, one more about its sequence where ids are wanted.
    Then a COPY for rows that fill the same columns, of up to four megabytes, and a draw of ids per chunk or less.

    Args:
        total_rows: How many are going to be written, 0 where that is not known.
        foreign_keys: Checks them instead of the triggers where it can; None leaves them to the triggers.
    """

    def __init__(
        self,
        plan: RowPlan,
        connection: BaseDatabaseWrapper,
        *,
        return_ids: bool,
        total_rows: int = 0,
        foreign_keys: ForeignKeys | None = None,
    ) -> None:
        self.plan = plan
        self.connection = connection
        self.return_ids = return_ids
        self.foreign_keys = foreign_keys
        self.methods: set[str] = set()
        self._inserts = InstanceWriter(plan, connection)
        self._targets: Mapping[str, CopyTarget] | None = None
        self._total_rows = total_rows
        self._ids: Ids | None = None
        self._unserved = ""
        self._has_told = False
        self._buffer: CopyBuffer | None = None
        self._enough_bytes = FIRST_BYTES
        self._sending: Sending | None = None

    def begin(self) -> None:
        """Look at the foreign keys anew, and tell of the rows anew."""
        self._has_told = False
        self._buffer = None
        if self.foreign_keys is not None:
            self.foreign_keys.begin()

    def settle(self) -> None:
        """Wait for the rows that are under way.

        Raises:
            RowDataError: A value does not fit.
            RowIntegrityError: A row breaks a constraint.
        """
        if self._sending is None:
            return
        sending, self._sending = self._sending, None
        with self._refusals_told(sending.buffer):
            sending.wait()

    def abandon(self) -> None:
        """Let no row be sent any more: all is rolled back."""
        self._buffer = None
        if self._sending is not None:
            self._sending.abandon()
            self._sending = None

    def flush(self) -> None:
        """Send what is left, and wait for it."""
        self._flush(is_last=True)
        self.settle()

    def close(self) -> None:
        """Send what is left, and wait for it."""
        self.flush()

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
            self.close()
            ids = self._inserts.write(rows, first_row=first_row)
            self.methods |= self._inserts.methods
            return ids if self.return_ids else []
        for batch in batches:
            self._add(batch, self._targets)
        self.methods.add("copy")
        return self._know_ids(rows, batches, first_row)

    def _look_at_table(self) -> Mapping[str, CopyTarget]:
        targets = copy_targets(self.connection, self.plan.model)
        if self.return_ids:
            sequence = own_sequence(self.connection, self.plan.model)
            self._ids = None if sequence is None else Ids(sequence, self._total_rows)
        if not self._can_know_ids():
            self._unserved = "the database makes keys that nobody can foretell"
            return {}
        for column in self.plan.columns:
            if not _can_copy(column, targets):
                self._unserved = f"the column of {column.field.name} is of a type that is not sent in binary"
                return {}
        return targets

    def _can_know_ids(self) -> bool:
        pk = self.plan.pk
        if not self.return_ids:
            return True
        if pk is None or (pk.is_omittable and self._ids is None):
            return False
        return pk.is_plain and family_of(pk.field) in ID_FAMILIES

    def _prepared(
        self, rows: Sequence[Row], targets: Mapping[str, CopyTarget], first_row: int
    ) -> list[Batch]:
        if not targets:
            raise NeedsStatementError(ROWS, self._unserved)

        def kind_of(column: Column) -> Kind:
            return targets[column.name].kind

        batches = self.plan.batches(rows, first_row=first_row)
        return [
            prepared_batch(batch, kind_of, self.connection) for batch in map(self._with_drawn_ids, batches)
        ]

    def _with_drawn_ids(self, batch: Batch) -> Batch:
        if self._ids is None or self.plan.pk is None or self.plan.pk in batch.columns:
            return batch
        ids = self._ids.take(self.connection, len(batch.numbers))
        return replace(batch, columns=[self.plan.pk, *batch.columns], values=[ids, *batch.values])

    def _add(self, batch: Batch, targets: Mapping[str, CopyTarget]) -> None:
        if self._sending is not None and self._buffer is None:
            if self._sending.take(batch):
                return
            if self._sending.is_done:
                self.settle()
        if self._buffer is not None and self._buffer.columns != tuple(batch.columns):
            self._flush()
        if self._buffer is None:
            oids = [targets[column.name].oid for column in batch.columns]
            self._buffer = CopyBuffer(self.connection.cursor().cursor, batch.columns, oids)
        self._buffer.add_batch(batch)
        if self._buffer.size_bytes >= self._enough_bytes:
            self._enough_bytes = min(2 * self._enough_bytes, ENOUGH_BYTES)
            self._flush()

    def _flush(self, *, is_last: bool = False) -> None:
        """Send the rows that are encoded; those before them are there then."""
        self.settle()
        if self._buffer is None:
            return
        buffer, self._buffer = self._buffer, None
        quote = self.connection.ops.quote_name
        names = ", ".join(quote(column.name) for column in buffer.columns)
        statement = f"COPY {quote(self.plan.model._meta.db_table)} ({names}) FROM STDIN (FORMAT BINARY)"
        cursor = self.connection.cursor()
        with self._refusals_told(buffer), self._keys_checked(cursor, buffer) as is_silent:
            if is_silent or is_last:
                buffer.send(cursor, statement)
            else:
                stays_open = self.foreign_keys is None or self.foreign_keys.leaves_all_to_triggers
                self._sending = Sending(buffer, cursor.cursor, statement, stays_open=stays_open)
                self._sending.start()
        self._tell()  # before the caller's own code may read them

    def _tell(self) -> None:
        """Tell that rows were written, once for each transaction."""
        if not self._has_told:
            self._has_told = True
            signals.rows_written.send(
                self.plan.model, using=self.connection.alias, operation="insert", pks=None
            )

    def _keys_checked(self, cursor: Any, buffer: CopyBuffer) -> AbstractContextManager[bool]:
        if self.foreign_keys is None:
            return nullcontext(enter_result=False)
        return self.foreign_keys.checked(cursor, buffer.rows, buffer.keys)

    @contextmanager
    def _refusals_told(self, buffer: CopyBuffer) -> Iterator[None]:
        try:
            with self.connection.wrap_database_errors:
                yield
        except RowDataError:
            raise
        except (DataError, IntegrityError) as error:
            raise copy_refusal(error, buffer.decoded(), self.plan.model) from error

    def _know_ids(self, rows: Sequence[Row], batches: Sequence[Batch], first_row: int) -> list[Any]:
        """Mark instances whose key is known as saved, and return the ids in the order of `rows`."""
        pk = self.plan.pk
        is_known = any(pk in batch.columns for batch in batches)
        if pk is None or not (self.return_ids or (is_known and self.plan.has_instances(rows))):
            return []
        ids: list[Any] = [None] * len(rows)
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
