"""UPDATE statements: of a whole chunk at once, of a row at a time inside the driver, or by Django's queryset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Protocol

from django.db import DataError, IntegrityError, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.bulk.fields import has_placeholder
from perfkit.bulk.kinds import Kind
from perfkit.bulk.plan import Batch, RowPlan
from perfkit.bulk.prepare import NeedsStatementError, prepared_batch
from perfkit.bulk.sequence import chosen, divided, in_order, keys_of, repeats
from perfkit.bulk.shapes import REFUSED_VALUE, Column
from perfkit.bulk.staging import ORDINAL, Stage
from perfkit.bulk.statements import Counted, kind_for_driver, refused_row, unbindable
from perfkit.bulk.table import CopyTarget, copy_targets
from perfkit.bulk.translate import field_of, refusal

REFUSALS = (DataError, IntegrityError, *REFUSED_VALUE)
"""What the database, or the driver before it, raises over a value that it does not take."""

Outcome = tuple[int, int]
"""How many different keys a chunk had, and how many of them the table has."""


class Updater(Protocol):
    """Writes chunks of changes, read by a `ChangeReader`."""

    connection: BaseDatabaseWrapper
    methods: set[str]

    def write(self, batches: list[Batch]) -> Outcome:
        """Write one chunk, whose later changes of a key hold."""

    def close(self) -> None:
        """Leave nothing behind, while the transaction is still open."""


class QuerySetUpdater:
    """Updates row by row with Django's `update`, which takes every field, expression and database."""

    def __init__(self, plan: RowPlan, connection: BaseDatabaseWrapper) -> None:
        self.plan = plan
        self.connection = connection
        self.methods: set[str] = set()
        self._rows: models.QuerySet[Any] = models.QuerySet(plan.model, using=connection.alias)

    def write(self, batches: list[Batch]) -> Outcome:
        """Write one chunk.

        Raises:
            RowDataError: A value does not fit.
            RowIntegrityError: A row breaks a constraint.
        """
        self.methods.add("update")
        parts = len(self.plan.pk_columns)
        rows: list[tuple[int, Any, dict[str, Any]]] = []
        for batch in batches:
            names = [column.attname for column in batch.columns[parts:]]
            for number, *values in zip(batch.numbers, *batch.values, strict=True):
                key = values[0] if parts == 1 else tuple(values[:parts])
                rows.append((number, key, dict(zip(names, values[parts:], strict=True))))
        found = {
            key
            for number, key, values in sorted(rows, key=itemgetter(0))
            if self._update(number, key, values)
        }
        return len({key for _, key, _ in rows}), len(found)

    def close(self) -> None:
        """Nothing is held."""

    def _update(self, number: int, key: Any, values: dict[str, Any]) -> int:
        with (
            refused_row(self.plan.model, number, values.values()),
            transaction.atomic(using=self.connection.alias),
        ):
            return self._rows.filter(pk=key).update(**values)


class PreparingUpdater(ABC):
    """What the two fast ways share: values are prepared by column, and equal keys follow each other.

    What neither can send goes to `QuerySetUpdater`.
    """

    def __init__(self, plan: RowPlan, connection: BaseDatabaseWrapper) -> None:
        self.plan = plan
        self.key = plan.pk_columns
        self.connection = connection
        self.methods: set[str] = set()
        self._singly = QuerySetUpdater(plan, connection)

    def write(self, batches: list[Batch]) -> Outcome:
        """Write one chunk.

        Raises:
            RowDataError: A value does not fit.
            RowIntegrityError: A row breaks a constraint.
        """
        try:
            ready = [self._ready(batch) for batch in batches]
        except NeedsStatementError:
            outcome = self._singly.write(batches)
            self.methods |= self._singly.methods
            return outcome
        repeated = repeats(ready, self.key)
        if not repeated and (len(ready) == 1 or not any(map(self._may_meet, ready))):
            return sum(len(batch.numbers) for batch in ready), sum(map(self._update, ready))

        def is_first(number: int) -> bool:
            return number not in repeated

        may_meet = any(map(self._may_meet, ready))
        parts = in_order(ready, self.key, is_first) if may_meet else divided(ready, repeated, is_first)
        found = 0
        for part, are_first in parts:
            rows = self._update(part)
            found += rows if are_first else 0  # later parts find the same rows again
        return len({key for batch in ready for key in keys_of(batch, self.key)}), found

    def _may_meet(self, batch: Batch) -> bool:
        """Tell whether rows go as they come, for they may meet each other in a unique constraint."""
        changed = set(batch.columns[len(self.key) :])
        return any(columns & changed for columns in self.plan.unique_sets)

    def close(self) -> None:
        """Leave nothing behind."""
        self._singly.close()

    def _ready(self, batch: Batch) -> Batch:
        return prepared_batch(batch, self._known_kind, self.connection)

    def _known_kind(self, column: Column) -> Kind:
        kind = self._kind(column)
        if kind is None or has_placeholder(column.field):
            raise NeedsStatementError(column.field.name, "a column of a type that is not sent by type")
        return kind

    @abstractmethod
    def _kind(self, column: Column) -> Kind | None:
        """Return how values of a column are sent, None where they cannot be."""

    @abstractmethod
    def _update(self, batch: Batch) -> int:
        """Send rows of different keys; return how many there were to change."""


class StatementUpdater(PreparingUpdater):
    """Changes all rows by one statement: `UPDATE … FROM` what a `Stage` brings (PostgreSQL).

    Queries: one about the table at the first chunk, then one per chunk and set of changed columns,
    and two more where they are staged.
    """

    def __init__(self, plan: RowPlan, connection: BaseDatabaseWrapper) -> None:
        super().__init__(plan, connection)
        self._targets: Mapping[str, CopyTarget] | None = None
        self._stage: Stage | None = None

    def _kind(self, column: Column) -> Kind | None:
        if self._targets is None:
            self._targets = copy_targets(self.connection, self.plan.model)
            self._stage = Stage(self.connection, self.plan.model, self._targets)
        assert self._stage is not None  # noqa: S101  # just made
        return self._targets[column.name].kind if self._stage.can_send(column) else None

    def close(self) -> None:
        """Drop what was staged."""
        if self._stage is not None:
            self._stage.drop()

    def _update(self, batch: Batch) -> int:
        """Send rows; those that fail together in halves, as if row came after row, down to the row at fault."""
        try:
            return self._sent(batch)
        except REFUSALS as error:
            count = len(batch.numbers)
            if count == 1:
                if isinstance(error, DataError | IntegrityError):
                    raise refusal(error, batch.numbers[0], field_of(error, self.plan.model)) from error
                raise unbindable(batch, 0, error) from None
        halves = range(count // 2), range(count // 2, count)
        return sum(self._update(chosen(batch, half)) for half in halves)

    def _sent(self, batch: Batch) -> int:
        assert self._stage is not None  # noqa: S101  # `_kind` has looked
        quote = self.connection.ops.quote_name
        is_staged = self._stage.prepare(batch.columns, len(batch.numbers))
        self.methods.add("staged" if is_staged else "unnest")
        names = [quote(column.name) for column in batch.columns[len(self.key) :]]
        key = [quote(column.name) for column in self.key]
        with transaction.atomic(using=self.connection.alias), self.connection.cursor() as cursor:
            source = self._stage.source(cursor, batch.columns, batch.values, is_staged=is_staged)
            is_ordered = self._may_meet(batch)
            order = [ORDINAL] if is_ordered else key
            with self._stage.found_by_index(cursor, is_wanted=is_staged or is_ordered):
                cursor.execute(
                    f"UPDATE {quote(self.plan.model._meta.db_table)} AS t "  # noqa: S608  # quoted names
                    f"SET {', '.join(f'{name} = new.{name}' for name in names)} "
                    f"FROM (SELECT * FROM {source.sql} ORDER BY {', '.join(order)}) AS new "
                    f"WHERE {' AND '.join(f't.{name} = new.{name}' for name in key)}",
                    source.parameters,
                )
                return int(cursor.rowcount)


class ParameterUpdater(PreparingUpdater):
    """Runs one prepared UPDATE per row inside the driver (SQLite)."""

    def _kind(self, column: Column) -> Kind | None:
        return kind_for_driver(column)

    def _update(self, batch: Batch) -> int:
        self.methods.add("update")
        quote = self.connection.ops.quote_name
        parts = len(self.key)
        sets = ", ".join(f"{quote(column.name)} = %s" for column in batch.columns[parts:])
        statement = (
            f"UPDATE {quote(self.plan.model._meta.db_table)} SET {sets} "  # noqa: S608  # quoted names
            f"WHERE {' AND '.join(f'{quote(column.name)} = %s' for column in self.key)}"
        )
        sent = Counted(zip(*batch.values[parts:], *batch.values[:parts], strict=True))
        try:
            with self.connection.cursor() as cursor:
                cursor.executemany(statement, sent)  # type: ignore[arg-type]  # any iterable will do
                return int(cursor.rowcount)
        except (DataError, IntegrityError) as error:
            number = batch.numbers[sent.position]
            raise refusal(error, number, field_of(error, self.plan.model)) from error
        except REFUSED_VALUE as error:  # a value that the driver cannot bind
            raise unbindable(batch, sent.position, error) from None
