"""Upserting a chunk by one statement (PostgreSQL)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from django.db import DatabaseError, DataError, IntegrityError, ProgrammingError, transaction

from perfkit import signals
from perfkit.bulk.chunks import ChunkWriter, Single
from perfkit.bulk.conflict import AnyConflict, Clause, Conflict
from perfkit.bulk.copy_buffer import key_values
from perfkit.bulk.explain import ROWS
from perfkit.bulk.fields import has_placeholder
from perfkit.bulk.foreign_keys import ForeignKeys
from perfkit.bulk.kinds import Kind
from perfkit.bulk.outcomes import Outcome, UpsertedRow, Word
from perfkit.bulk.parts import Part, in_parts, keeps_order
from perfkit.bulk.plan import Batch
from perfkit.bulk.prepare import NeedsStatementError, prepared_batch
from perfkit.bulk.queryset_upserter import mark_saved, read_pk
from perfkit.bulk.sequence import chosen
from perfkit.bulk.shapes import REFUSED_VALUE, Column, Row
from perfkit.bulk.staging import ORDINAL, Source, Stage
from perfkit.bulk.statements import unbindable
from perfkit.bulk.table import CopyTarget, Ids, copy_targets, is_partitioned, own_sequence
from perfkit.bulk.translate import field_of, refusal
from perfkit.bulk.turns import take_turn

REFUSALS: Final = (DataError, IntegrityError, ProgrammingError, *REFUSED_VALUE)
ROW_TWICE: Final = "21000"
"""PostgreSQL's code of ON CONFLICT that meets a row of its own: two keys are equal there, and were not here."""
RETURNS_OLD: Final = 180_000
"""Since 18 RETURNING shows a row as it was."""


class Created(NamedTuple):
    """How RETURNING says whether a row is new.

    Attributes:
        options: What stands before the list, with a space behind it.
        claim: The expression.
    """

    options: str
    claim: str


class StatementUpserter(Single):
    """Writes a chunk by `INSERT … SELECT … ON CONFLICT` from what a `Stage` brings (PostgreSQL).

    Rows whose keys are equal follow each other in statements of their own.
    Rows go in the order of their keys, so that two statements of this kind never wait for each other,
    unless another unique constraint asks for the order in which they came; calls take turns then,
    and where they need several statements.

    Queries: one about the table at the first chunk, then one per chunk, set of filled and set of changed columns;
    two more where they are staged, and another for rows to return.

    Args:
        singly: Writes the rows that this way cannot send.
        chunk_rows: A chunk of fewer is the last.
        return_rows: Whether the outcome is told row by row.
        take_turns: Whether calls on the table that need several statements wait for each other.
        foreign_keys: Checks them instead of the triggers where it can; None leaves them to the triggers.
    """

    def __init__(
        self,
        conflict: Conflict | AnyConflict,
        singly: ChunkWriter[Row, Outcome],
        *,
        chunk_rows: int,
        return_rows: bool,
        take_turns: bool,
        foreign_keys: ForeignKeys | None = None,
    ) -> None:
        self.conflict = conflict
        self.plan = conflict.plan
        self.connection = conflict.connection
        self.chunk_rows = chunk_rows
        self.return_rows = return_rows
        self.take_turns = take_turns
        self.methods: set[str] = set()
        self.foreign_keys = foreign_keys
        self._has_told = False
        self._singly = singly
        self._targets: Mapping[str, CopyTarget] | None = None
        self._stage: Stage | None = None
        self._ids: Ids | None = None
        self._created: Created | None = None

    def begin(self) -> None:
        """Look at the foreign keys anew, and tell of the rows anew."""
        self._has_told = False
        if self.foreign_keys is not None:
            self.foreign_keys.begin()

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
            if self.take_turns:
                take_turn(self.connection, self.plan.model)
            outcome = self._singly.write(rows, first_row=first_row)
            self.methods |= self._singly.methods
            return outcome
        is_ordered_by_key = len(parts) <= 1 and not any(
            keeps_order(self.conflict, part.batch) for part in parts
        )
        if self.take_turns and (len(rows) >= self.chunk_rows or (len(rows) > 1 and not is_ordered_by_key)):
            take_turn(self.connection, self.plan.model)
        outcome = Outcome()
        for part in parts:
            outcome.add(self._written(part))
        mark_saved(self.plan, rows, outcome, using=self.connection.alias)
        return outcome

    def close(self) -> None:
        """Drop what was staged."""
        if self._stage is not None:
            self._stage.drop()

    def _look_at_table(self) -> Mapping[str, CopyTarget]:
        targets = copy_targets(self.connection, self.plan.model)
        self._stage = Stage(self.connection, self.plan.model, targets)
        table = self.connection.ops.quote_name(self.plan.model._meta.db_table)
        pk = self.connection.ops.quote_name(self.plan.pk_columns[0].name)
        if self.connection.pg_version >= RETURNS_OLD:  # type: ignore[attr-defined]  # PostgreSQL's
            self._created = Created("WITH (OLD AS perfkit_old) ", f"(perfkit_old.{pk} IS NULL)")
        elif not is_partitioned(self.connection, self.plan.model):
            self._created = Created("", f"({table}.xmax = 0)")
        if self.return_rows:
            sequence = own_sequence(self.connection, self.plan.model)
            self._ids = None if sequence is None else Ids(sequence, rows=0)
        return targets

    def _parts(self, rows: Sequence[Row], first_row: int) -> list[Part]:
        """Prepare the rows, and divide them by what they fill, by what they change, and by equal keys."""
        if self._targets is None:
            self._targets = self._look_at_table()
        if self.return_rows and self.plan.pk is None:
            raise NeedsStatementError(ROWS, "keys of several parts are told")
        changed = [
            self.conflict.changed(self.plan.given(row, number)) for number, row in enumerate(rows, first_row)
        ]
        batches = [self._prepared(batch) for batch in self.plan.batches(rows, first_row=first_row)]
        return in_parts(self.conflict, batches, changed)

    def _prepared(self, batch: Batch) -> Batch:
        batch = prepared_batch(batch, self._kind, self.connection)
        pk = self.plan.pk
        if not self.return_rows or pk is None or pk in batch.columns:
            return batch
        if self._ids is None or self._targets is None or pk.name not in self._targets:
            raise NeedsStatementError(pk.field.name, "the database makes keys that nobody can foretell")
        ids = self._ids.take(self.connection, len(batch.numbers))
        return replace(batch, columns=[pk, *batch.columns], values=[ids, *batch.values])

    def _kind(self, column: Column) -> Kind:
        assert self._targets is not None and self._stage is not None  # noqa: S101, PT018  # `_parts` has looked
        if has_placeholder(column.field) or not self._stage.can_send(column):
            raise NeedsStatementError(column.field.name, "a column of a type that is not sent by type")
        return self._targets[column.name].kind

    def _written(self, part: Part) -> Outcome:
        """Write the rows of a part; where they fail together, in halves, down to the row at fault."""
        try:
            return self._sent(part)
        except REFUSALS as error:
            if isinstance(error, ProgrammingError) and not _is_row_twice(error):
                raise
            count = len(part.batch.numbers)
            if count == 1:
                if isinstance(error, DatabaseError):
                    number = part.batch.numbers[0]
                    raise refusal(error, number, field_of(error, self.plan.model)) from error
                raise unbindable(part.batch, 0, error) from None
        outcome = self._written(replace(part, batch=chosen(part.batch, range(count // 2))))
        outcome.add(self._written(replace(part, batch=chosen(part.batch, range(count // 2, count)))))
        return outcome

    def _sent(self, part: Part) -> Outcome:
        assert self._stage is not None  # noqa: S101  # `_parts` has looked
        batch = part.batch
        is_staged = self._stage.prepare(batch.columns, len(batch.numbers))
        with transaction.atomic(using=self.connection.alias), self.connection.cursor() as cursor:
            source = self._stage.source(cursor, batch.columns, batch.values, is_staged=is_staged)
            if self._created and not self.return_rows:
                outcome = self._counted(cursor, part, source, self._created)
            else:
                before = {} if self._created else self._matched(cursor, batch, source, is_staged=is_staged)
                written = self._inserted(cursor, part, source)
                after = self._matched(cursor, batch, source, is_staged=is_staged) if self.return_rows else {}
                outcome = self._told(batch, before, written, after)
        self.methods.add("staged" if is_staged else "unnest")
        return outcome

    def _run(
        self, cursor: Any, part: Part, statement: str, parameters: Sequence[Any]
    ) -> list[tuple[Any, ...]]:
        """Write the rows of a part; return what the statement returns."""
        if self.foreign_keys is None:
            cursor.execute(statement, parameters)
            return cursor.fetchall()  # type: ignore[no-any-return]
        changed = [self.plan.columns[place].name for place in part.changed]
        with (
            self.foreign_keys.checked(
                cursor, len(part.batch.numbers), key_values(part.batch), changed=changed
            ) as is_silent,
            self.connection.wrap_database_errors,
        ):
            by = cursor.cursor if is_silent else cursor
            by.execute(statement, parameters)
            rows: list[tuple[Any, ...]] = by.fetchall()
        if is_silent and not self._has_told:
            self._has_told = True
            signals.rows_written.send(
                self.plan.model, using=self.connection.alias, operation="update", pks=None
            )
        return rows

    def _insert(self, part: Part, source: Source) -> Clause:
        quote = self.connection.ops.quote_name
        names = [quote(column.name) for column in part.batch.columns]
        key = [quote(column.name) for column in self.conflict.key.columns]
        order = (
            [f"new.{ORDINAL}"]
            if keeps_order(self.conflict, part.batch)
            else [f"new.{name}" for name in key if name in names]
        )
        clause = self.conflict.clause(part.changed)
        return Clause(
            f"INSERT INTO {quote(self.plan.model._meta.db_table)} ({', '.join(names)}) "  # noqa: S608  # quoted names
            f"SELECT {', '.join(f'new.{name}' for name in names)} FROM {source.sql} "
            f"{'ORDER BY ' if order else ''}{', '.join(order)} {clause.sql}",
            (*source.parameters, *clause.parameters),
        )

    def _counted(self, cursor: Any, part: Part, source: Source, created: Created) -> Outcome:
        insert = self._insert(part, source)
        statement = (
            f"WITH done (created) AS ({insert.sql} RETURNING {created.options}{created.claim}) "  # noqa: S608  # quoted names
            "SELECT count(*), count(*) FILTER (WHERE created) FROM done"
        )
        ((written, new),) = self._run(cursor, part, statement, insert.parameters)
        return Outcome(new, written - new, len(part.batch.numbers) - written)

    def _inserted(self, cursor: Any, part: Part, source: Source) -> dict[Any, bool | None]:
        """Return the keys of the rows that were written; and whether they are new, where that is told."""
        insert = self._insert(part, source)
        pk = self.connection.ops.quote_name(self.plan.pk_columns[0].name)
        options, claim = self._created or ("", "NULL")
        return dict(
            self._run(cursor, part, f"{insert.sql} RETURNING {options}{pk}, {claim}", insert.parameters)
        )

    def _matched(self, cursor: Any, batch: Batch, source: Source, *, is_staged: bool) -> dict[int, Any]:
        """Return, by ordinal, the primary keys of the rows that have the keys of the batch."""
        quote = self.connection.ops.quote_name
        if any(column not in batch.columns for column in self.conflict.key.columns):
            return {}
        names = [quote(column.name) for column in self.conflict.key.columns]
        equals = "IS NOT DISTINCT FROM" if self.conflict.key.has_equal_nulls else "="
        assert self._stage is not None  # noqa: S101  # `_parts` has looked
        with self._stage.found_by_index(cursor, is_wanted=is_staged):
            cursor.execute(
                f"SELECT new.{ORDINAL}, t.{quote(self.plan.pk_columns[0].name)} FROM {source.sql} "  # noqa: S608  # quoted names
                f"JOIN {quote(self.plan.model._meta.db_table)} AS t "
                f"ON {' AND '.join(f't.{name} {equals} new.{name}' for name in names)}",
                source.parameters,
            )
            return dict(cursor.fetchall())

    def _told(
        self,
        batch: Batch,
        before: Mapping[int, Any],
        written: Mapping[Any, bool | None],
        after: Mapping[int, Any],
    ) -> Outcome:
        if not self.return_rows:
            count, created = len(batch.numbers), len(batch.numbers) - len(before)
            return Outcome(created, len(written) - created, count - len(written))
        assert self.plan.pk is not None  # noqa: S101  # `_parts` leaves other models to Django
        outcome = Outcome()
        own = batch.values[batch.columns.index(self.plan.pk)]
        for ordinal, number in enumerate(batch.numbers, 1):
            pk = after.get(ordinal, own[ordinal - 1])  # a key with a NULL is the row's own
            is_new = written[pk] if self._created and pk in written else ordinal not in before
            word: Word = "untouched" if pk not in written else "created" if is_new else "updated"
            outcome.tell(number, UpsertedRow(read_pk(self.plan, self.connection, pk), word))
        return outcome


def _is_row_twice(error: DatabaseError) -> bool:
    return getattr(error.__cause__, "sqlstate", None) == ROW_TWICE
