"""Upserting row by row, by Django's queryset: every field, expression and database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import IntegrityError, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import DatabaseDefault

from perfkit.bulk.chunks import Single
from perfkit.bulk.conflict import Conflict
from perfkit.bulk.fields import target_of
from perfkit.bulk.inherited import rows_of
from perfkit.bulk.outcomes import Outcome, UpsertedRow
from perfkit.bulk.plan import RowPlan
from perfkit.bulk.shapes import Column, Row
from perfkit.bulk.statements import refused_row, require_lengths


class QuerySetUpserter(Single):
    """Upserts row by row with Django's `update` and `bulk_create`.

    Queries: two per row, three where others wrote its key in between.
    """

    def __init__(self, conflict: Conflict) -> None:
        self.conflict = conflict
        self.plan = conflict.plan
        self.methods: set[str] = set()
        self._using = conflict.connection.alias
        self._rows: models.QuerySet[Any] = rows_of(self.plan.model, self._using)

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
            with refused_row(self.plan.model, number, vars(instance).values()):
                outcome.tell(number, self._upserted(instance, changed))
        mark_saved(self.plan, rows, outcome, using=self._using)
        return outcome

    def _upserted(self, instance: models.Model, changed: Sequence[int]) -> UpsertedRow:
        instance._prepare_related_fields_for_save(operation_name="bulk_upsert")  # type: ignore[attr-defined]  # noqa: SLF001  # as bulk_create does
        key = {
            column.attname: _of_database(getattr(instance, column.attname))
            for column in self.conflict.key.columns
        }
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
    return _of_database(column.field.pre_save(instance, add=False))


def _of_database(value: Any) -> Any:
    """Return a value, of a default of the database what that computes."""
    return value.expression if isinstance(value, DatabaseDefault) else value  # type: ignore[attr-defined]  # missing in the stubs
