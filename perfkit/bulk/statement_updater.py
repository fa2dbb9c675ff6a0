"""UPDATE of a whole chunk by one statement, while the next is read (PostgreSQL)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from django.db import DataError, IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.bulk.copy_buffer import Encoded
from perfkit.bulk.kinds import Kind
from perfkit.bulk.plan import Batch, RowPlan
from perfkit.bulk.running import RunningStatement
from perfkit.bulk.sequence import chosen
from perfkit.bulk.shapes import Column
from perfkit.bulk.staging import ORDINAL, Source, Stage
from perfkit.bulk.statements import unbindable
from perfkit.bulk.table import CopyTarget, copy_targets
from perfkit.bulk.translate import field_of, refusal
from perfkit.bulk.updaters import REFUSALS, Outcome, PreparingUpdater


class UnderWay(NamedTuple):
    """Rows whose statement has begun, and the outcome that counts them."""

    statement: RunningStatement
    batch: Batch
    outcome: Outcome


class StatementUpdater(PreparingUpdater):
    """Changes all rows by one statement: `UPDATE … FROM` what a `Stage` brings (PostgreSQL).

    The statement of staged rows goes on while the caller's next rows are read, prepared and encoded.

    Queries: one about the table at the first chunk, then one per chunk and set of changed columns,
    and two more where they are staged.
    """

    def __init__(self, plan: RowPlan, connection: BaseDatabaseWrapper) -> None:
        super().__init__(plan, connection)
        self._targets: Mapping[str, CopyTarget] | None = None
        self._stage: Stage | None = None
        self._under_way: UnderWay | None = None

    def settle(self) -> None:
        """Wait for the rows that are under way.

        Raises:
            RowDataError: A value does not fit.
            RowIntegrityError: A row breaks a constraint.
        """
        if self._under_way is None:
            return
        statement, batch, outcome = self._under_way
        try:
            outcome.updated += statement.wait()
        except REFUSALS as error:
            self._under_way = None
            self._update_halves(batch, outcome, error)
            self.settle()
        else:
            self._under_way = None

    def abandon(self) -> None:
        """Have the server stop: all is rolled back."""
        if self._under_way is not None:
            self._under_way.statement.abandon()
            self._under_way = None

    def close(self) -> None:
        """Wait for the rows that are under way, and drop what was staged."""
        self.settle()
        if self._stage is not None:
            self._stage.drop()

    def _kind(self, column: Column) -> Kind | None:
        if self._targets is None:
            self._targets = copy_targets(self.connection, self.plan.model)
            self._stage = Stage(self.connection, self.plan.model, self._targets)
        assert self._stage is not None  # noqa: S101  # just made
        return self._targets[column.name].kind if self._stage.can_send(column) else None

    def _update(self, batch: Batch, outcome: Outcome) -> None:
        """Send rows once those before them are there."""
        assert self._stage is not None  # noqa: S101  # `_kind` has looked
        try:
            is_staged = self._stage.is_for(batch.columns, len(batch.numbers))
            rows = self._stage.encoded(batch.columns, batch.values) if is_staged else None
        except REFUSALS as error:
            self.settle()
            self._update_halves(batch, outcome, error)
            return
        self.settle()
        try:
            if rows is None:
                outcome.updated += self._with_arrays(batch, self._stage)
            else:
                self._begin(batch, outcome, rows, self._stage)
        except REFUSALS as error:
            self._update_halves(batch, outcome, error)

    def _update_halves(self, batch: Batch, outcome: Outcome, error: Exception) -> None:
        """Send rows that failed together in halves, as if row came after row, down to the row at fault."""
        count = len(batch.numbers)
        if count == 1:
            if isinstance(error, DataError | IntegrityError):
                raise refusal(error, batch.numbers[0], field_of(error, self.plan.model)) from error
            raise unbindable(batch, 0, error) from None
        for half in (range(count // 2), range(count // 2, count)):
            self._update(chosen(batch, half), outcome)

    def _with_arrays(self, batch: Batch, stage: Stage) -> int:
        self.methods.add("unnest")
        source = stage.arrays(batch.columns, batch.values)
        with (
            transaction.atomic(using=self.connection.alias),
            self.connection.cursor() as cursor,
            stage.found_by_index(cursor, is_wanted=self._may_meet(batch)),
        ):
            cursor.execute(self._statement(batch, source), source.parameters)
            return int(cursor.rowcount)

    def _begin(self, batch: Batch, outcome: Outcome, rows: Encoded, stage: Stage) -> None:
        """Stage rows, and begin their statement."""
        self.methods.add("staged")
        stage.make()
        with transaction.atomic(using=self.connection.alias), self.connection.cursor() as cursor:
            source = stage.filled(cursor, batch.columns, rows)
            settings = stage.settings(cursor)
        statement = RunningStatement(self.connection, before=settings.off, after=settings.back)
        self._under_way = UnderWay(statement, batch, outcome)  # known before it begins
        statement.start(self._statement(batch, source))

    def _statement(self, batch: Batch, source: Source) -> str:
        quote = self.connection.ops.quote_name
        names = [quote(column.name) for column in batch.columns[len(self.key) :]]
        key = [quote(column.name) for column in self.key]
        order = [ORDINAL] if self._may_meet(batch) else key
        return (
            f"UPDATE {quote(self.plan.model._meta.db_table)} AS t "  # noqa: S608  # quoted names
            f"SET {', '.join(f'{name} = new.{name}' for name in names)} "
            f"FROM (SELECT * FROM {source.sql} ORDER BY {', '.join(order)}) AS new "
            f"WHERE {' AND '.join(f't.{name} = new.{name}' for name in key)}"
        )
