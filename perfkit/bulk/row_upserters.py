"""Upserting row by row: by Django's queryset on every database, or by prepared statements inside the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.db import DataError, IntegrityError, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import DatabaseDefault

from perfkit.bulk.chunks import Single
from perfkit.bulk.conflict import Clause, Conflict
from perfkit.bulk.fields import has_placeholder, target_of
from perfkit.bulk.outcomes import Outcome, UpsertedRow, Word
from perfkit.bulk.plan import Batch, RowPlan
from perfkit.bulk.prepare import NeedsStatementError, prepared
from perfkit.bulk.refusals import RowDataError
from perfkit.bulk.shapes import REFUSED_VALUE, Column, Row
from perfkit.bulk.statements import kind_for_driver, require_lengths, unbindable
from perfkit.bulk.translate import field_of, refusal


class QuerySetUpserter(Single):
    """Upserts row by row with Django's `update` and `bulk_create`: every field, expression and database.

    Queries: two per row, three where others wrote its key in between.
    """

    def __init__(self, conflict: Conflict) -> None:
        self.conflict = conflict
        self.plan = conflict.plan
        self.methods: set[str] = set()
        self._using = conflict.connection.alias
        self._rows: models.QuerySet[Any] = models.QuerySet(self.plan.model, using=self._using)

    def write(self, rows: list[Row], *, first_row: int) -> Outcome:
        """Write one chunk.

        Raises:
            RowShapeError: A row is not one of the model's.
            RowDataError: A value does not fit.
            RowIntegrityError: A row breaks a constraint.
        """
        self.methods.add("update")
        outcome = Outcome()
        instances = self.plan.as_instances(rows, first_row=first_row)
        require_lengths(self.plan, instances, first_row=first_row)
        for number, (row, instance) in enumerate(zip(rows, instances, strict=True), first_row):
            changed = self.conflict.changed(self.plan.given(row, number))
            try:
                told = self._upserted(instance, changed)
            except (DataError, IntegrityError) as error:
                raise refusal(error, number, field_of(error, self.plan.model)) from error
            except REFUSED_VALUE as error:
                if any(hasattr(value, "resolve_expression") for value in vars(instance).values()):
                    raise  # Django says which expression it does not take
                problem = f"a value is refused ({type(error).__name__})."
                raise RowDataError(number, None, problem) from None
            outcome.tell(number, told)
        mark_saved(self.plan, rows, outcome, using=self._using)
        return outcome

    def _upserted(self, instance: models.Model, changed: Sequence[int]) -> UpsertedRow:
        instance._prepare_related_fields_for_save(operation_name="bulk_upsert")  # type: ignore[attr-defined]  # noqa: SLF001  # as bulk_create does
        key = {column.attname: getattr(instance, column.attname) for column in self.conflict.key.columns}
        may_exist = self.conflict.key.has_equal_nulls or None not in key.values()
        found = self._changed(instance, key, changed) if may_exist else None
        if found is not None:
            return found
        try:
            with transaction.atomic(using=self._using):
                self._rows.bulk_create([instance])
        except IntegrityError:
            found = self._changed(instance, key, changed) if may_exist else None
            if found is None:
                raise
            return found
        return UpsertedRow(instance.pk, "created")

    def _changed(
        self, instance: models.Model, key: Mapping[str, Any], changed: Sequence[int]
    ) -> UpsertedRow | None:
        """Change the row of this key; return None where there is none."""
        named = {
            (f"{name}__isnull" if value is None else name): value is None or value
            for name, value in key.items()
        }
        rows = self._rows.filter(**named).order_by()
        with transaction.atomic(using=self._using):
            pk = rows.select_for_update().values_list("pk", flat=True).first()
            if pk is None:
                return None
            new = {
                place: _for_update(column, instance)
                for place, column in enumerate(self.plan.columns)
                if place in changed or not column.saves_itself
            }
            if not changed or not self.conflict.restricted(rows, changed, new).update(
                **self.conflict.values_for_update(changed, new)
            ):
                return UpsertedRow(pk, "untouched")
        return UpsertedRow(pk, "updated")


class RowUpserter(Single):
    """Looks for each row's key, and writes it with one prepared `INSERT … ON CONFLICT` (SQLite).

    Queries: two per row, inside the process; one before them takes the file's only place for a writer,
    for a transaction that has read before it writes cannot wait for it.
    """

    def __init__(self, conflict: Conflict, *, return_rows: bool) -> None:
        self.conflict = conflict
        self.plan = conflict.plan
        self.connection = conflict.connection
        self.return_rows = return_rows
        self.methods: set[str] = set()
        self._singly = QuerySetUpserter(conflict)
        self._kinds = {column: kind_for_driver(column) for column in self.plan.columns}
        self._is_served = not any(has_placeholder(column.field) for column in self.plan.columns)

    def begin(self) -> None:
        """Become the file's writer."""
        quote = self.connection.ops.quote_name
        pk = quote(self.plan.pk_columns[0].name)
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {quote(self.plan.model._meta.db_table)} SET {pk} = {pk} WHERE 0"  # noqa: S608  # quoted names
            )

    def write(self, rows: list[Row], *, first_row: int) -> Outcome:
        """Write one chunk.

        Raises:
            RowShapeError: A row is not one of the model's.
            RowDataError: A value does not fit.
            RowIntegrityError: A row breaks a constraint.
        """
        try:
            batches = self._batches(rows, first_row)
        except NeedsStatementError:
            outcome = self._singly.write(rows, first_row=first_row)
            self.methods |= self._singly.methods
            return outcome
        self.methods.add("upsert")
        statements: dict[tuple[int, tuple[int, ...]], Clause] = {}
        places = [
            (number, place, at)
            for place, batch in enumerate(batches)
            for at, number in enumerate(batch.numbers)
        ]
        outcome = Outcome()
        look, get_keys = self._look(), [self._key_getter(batch) for batch in batches]
        values = [list(zip(*batch.values, strict=True)) for batch in batches]
        with self.connection.cursor() as cursor:
            for number, place, at in sorted(places):
                batch = batches[place]
                changed = self.conflict.changed(self.plan.given(rows[number - first_row], number))
                statement = statements.get((place, changed))
                if statement is None:
                    statement = statements[place, changed] = self._statement(batch, changed)
                row = values[place][at]
                try:
                    key = get_keys[place](row)
                    found = None if key is None else cursor.execute(look, key).fetchone()
                    cursor.execute(statement.sql, (*row, *statement.parameters))
                except (DataError, IntegrityError) as error:
                    raise refusal(error, number, field_of(error, self.plan.model)) from error
                except REFUSED_VALUE as error:  # a value that the driver cannot bind
                    raise unbindable(batch, at, error) from None
                word: Word = "created" if found is None else "updated" if cursor.rowcount else "untouched"
                if self.return_rows:
                    pk = found[0] if found else self._own_pk(cursor, batch, row)
                    outcome.tell(number, UpsertedRow(read_pk(self.plan, self.connection, pk), word))
                else:
                    outcome.count(word)
        mark_saved(self.plan, rows, outcome, using=self.connection.alias)
        return outcome

    def _batches(self, rows: Sequence[Row], first_row: int) -> list[Batch]:
        if not self._is_served or (self.return_rows and self.plan.pk is None):
            raise NeedsStatementError
        batches = self.plan.batches(rows, first_row=first_row)
        if not all(batch.columns for batch in batches):
            raise NeedsStatementError
        return [
            replace(
                batch,
                values=[
                    prepared(
                        column, self._kinds[column], given, numbers=batch.numbers, connection=self.connection
                    )
                    for column, given in zip(batch.columns, batch.values, strict=True)
                ],
            )
            for batch in batches
        ]

    def _look(self) -> str:
        quote = self.connection.ops.quote_name
        named = " AND ".join(f"{quote(column.name)} = %s" for column in self.conflict.key.columns)
        return (
            f"SELECT {quote(self.plan.pk_columns[0].name)} "  # noqa: S608  # quoted names
            f"FROM {quote(self.plan.model._meta.db_table)} WHERE {named}"
        )

    def _key_getter(self, batch: Batch) -> Callable[[Sequence[Any]], Sequence[Any] | None]:
        """Return what takes the key out of a row; None for one that cannot be in the table."""
        places = {column: place for place, column in enumerate(batch.columns)}
        if any(column not in places for column in self.conflict.key.columns):
            return lambda _row: None
        wanted = [places[column] for column in self.conflict.key.columns]

        def key(row: Sequence[Any]) -> Sequence[Any] | None:
            found = [row[place] for place in wanted]
            return None if None in found else found

        return key

    def _statement(self, batch: Batch, changed: tuple[int, ...]) -> Clause:
        quote = self.connection.ops.quote_name
        names = ", ".join(quote(column.name) for column in batch.columns)
        marks = ", ".join(["%s"] * len(batch.columns))
        clause = self.conflict.clause(changed)
        return Clause(
            f"INSERT INTO {quote(self.plan.model._meta.db_table)} ({names}) VALUES ({marks}) {clause.sql}",  # noqa: S608  # quoted names
            clause.parameters,
        )

    def _own_pk(self, cursor: Any, batch: Batch, row: Sequence[Any]) -> Any:
        if self.plan.pk in batch.columns:
            return row[batch.columns.index(self.plan.pk)]
        return cursor.lastrowid


def mark_saved(plan: RowPlan, rows: Sequence[Row], outcome: Outcome, *, using: str) -> None:
    """Tell the instances among `rows` their keys, where these are known."""
    if outcome.by_number:
        plan.mark_saved(rows, [row.pk for _, row in sorted(outcome.by_number.items())], using=using)


def read_pk(plan: RowPlan, connection: BaseDatabaseWrapper, value: Any) -> Any:
    """Return a primary key as instances have it, of what the driver read."""
    assert plan.pk is not None  # noqa: S101  # composite keys are Django's to tell
    column = target_of(plan.pk.field).cached_col
    for convert in (*connection.ops.get_db_converters(column), *column.get_db_converters(connection)):
        value = convert(value, column, connection)
    return value


def _for_update(column: Column, instance: models.Model) -> Any:
    """Return what `save` would send for a row that exists."""
    value = column.field.pre_save(instance, add=False)
    return value.expression if isinstance(value, DatabaseDefault) else value  # type: ignore[attr-defined]  # missing in the stubs
