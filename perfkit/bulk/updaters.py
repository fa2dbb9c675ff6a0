"""UPDATE statements of a row at a time, inside the driver or by Django's queryset, and what all ways share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Protocol

from django.db import DataError, IntegrityError, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.bulk.fields import has_placeholder
from perfkit.bulk.kinds import Kind
from perfkit.bulk.plan import Batch, RowPlan
from perfkit.bulk.prepare import NeedsStatementError, prepared_batch
from perfkit.bulk.sequence import divided, in_order, keys_of, repeats
from perfkit.bulk.shapes import REFUSED_VALUE, Column
from perfkit.bulk.statements import Counted, kind_for_driver, refused_row, unbindable
from perfkit.bulk.translate import field_of, refusal

REFUSALS = (DataError, IntegrityError, *REFUSED_VALUE)
"""What the database, or the driver before it, raises over a value that it does not take."""


@dataclass
class Outcome:
    """What became of a chunk.

    Attributes:
        different: How many different keys it had.
        updated: How many of them the table has; not known before `settle`.
    """

    different: int = 0
    updated: int = 0


class Updater(Protocol):
    """Writes chunks of changes, read by a `ChangeReader`."""

    connection: BaseDatabaseWrapper
    methods: set[str]

    def write(self, batches: list[Batch]) -> Outcome:
        """Write one chunk, whose later changes of a key hold."""

    def settle(self) -> None:
        """Wait for what is under way."""

    def abandon(self) -> None:
        """Let nothing more happen: all is rolled back."""

    def close(self) -> None:
        """Leave nothing behind, while the transaction is still open."""


class Immediate:
    """What an `Updater` does between its chunks that has nothing under way."""

    def settle(self) -> None:
        """Nothing is under way."""

    def abandon(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Nothing is held."""


class QuerySetUpdater(Immediate):
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
        return Outcome(len({key for _, key, _ in rows}), len(found))

    def _update(self, number: int, key: Any, values: dict[str, Any]) -> int:
        with (
            refused_row(self.plan.model, number, values.values()),
            transaction.atomic(using=self.connection.alias),
        ):
            return self._rows.filter(pk=key).update(**values)


class PreparingUpdater(Immediate, ABC):
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
            self.settle()
            outcome = self._singly.write(batches)
            self.methods |= self._singly.methods
            return outcome
        repeated = repeats(ready, self.key)
        if not repeated and (len(ready) == 1 or not any(map(self._may_meet, ready))):
            outcome = Outcome(sum(len(batch.numbers) for batch in ready))
            for batch in ready:
                self._update(batch, outcome)
            return outcome

        def is_first(number: int) -> bool:
            return number not in repeated

        may_meet = any(map(self._may_meet, ready))
        parts = in_order(ready, self.key, is_first) if may_meet else divided(ready, repeated, is_first)
        outcome = Outcome(len({key for batch in ready for key in keys_of(batch, self.key)}))
        for part, are_first in parts:
            self._update(part, outcome if are_first else Outcome())  # later parts find the same rows again
        return outcome

    def _may_meet(self, batch: Batch) -> bool:
        """Tell whether rows go as they come, for they may meet each other in a unique constraint."""
        changed = set(batch.columns[len(self.key) :])
        return any(columns & changed for columns in self.plan.unique_sets)

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
    def _update(self, batch: Batch, outcome: Outcome) -> None:
        """Send rows of different keys; count in `outcome` those that there were to change."""


class ParameterUpdater(PreparingUpdater):
    """Runs one prepared UPDATE per row inside the driver (SQLite)."""

    def _kind(self, column: Column) -> Kind | None:
        return kind_for_driver(column)

    def _update(self, batch: Batch, outcome: Outcome) -> None:
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
                outcome.updated += int(cursor.rowcount)
        except (DataError, IntegrityError) as error:
            number = batch.numbers[sent.position]
            raise refusal(error, number, field_of(error, self.plan.model)) from error
        except REFUSED_VALUE as error:  # a value that the driver cannot bind
            raise unbindable(batch, sent.position, error) from None
