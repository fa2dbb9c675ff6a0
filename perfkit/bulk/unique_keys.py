"""The unique constraints by which an upsert finds rows. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.bulk.plan import RowPlan
from perfkit.bulk.shapes import Column
from perfkit.errors import UsageError


class UniqueKey(NamedTuple):
    """A unique constraint of a model.

    Attributes:
        has_equal_nulls: Whether NULL equals NULL in it.
    """

    columns: tuple[Column, ...]
    has_equal_nulls: bool


def key_named(plan: RowPlan, connection: BaseDatabaseWrapper, names: Sequence[str]) -> UniqueKey:
    """Return the unique constraint of these fields.

    Raises:
        UsageError: There is none, or it is checked only at COMMIT.
    """
    if isinstance(names, str) or not names:
        raise UsageError("conflict_columns must be a list of names, as in conflict_columns=['code'].")
    if list(names) == ["pk"]:
        names = [column.field.name for column in plan.pk_columns]
    unknown = [name for name in names if plan.places.get(name) is None]
    keys = {
        frozenset(column.field.name for column in key.columns): key for key in unique_keys(plan, connection)
    }
    allowed = " or ".join(str([column.field.name for column in key.columns]) for key in keys.values())
    if unknown:
        raise UsageError(
            f"conflict_columns names {unknown[0]!r}, which {plan.label} has not. Allowed: {allowed}."
        )
    wanted = frozenset(
        plan.columns[place].field.name for name in names if (place := plan.places[name]) is not None
    )
    if wanted not in keys:
        raise UsageError(
            f"conflict_columns={list(names)} are not those of a unique constraint of {plan.label} that is checked "
            f"at once, for all rows and by columns alone. Allowed: {allowed}."
        )
    return keys[wanted]


def unique_keys(plan: RowPlan, connection: BaseDatabaseWrapper) -> Iterator[UniqueKey]:
    """Yield the unique constraints of the model that an upsert can go by: no conditions, nothing deferred."""
    meta = (plan.model._meta.concrete_model or plan.model)._meta
    may_say_nulls = connection.features.supports_nulls_distinct_unique_constraints
    by_name = {column.field.name: column for column in plan.columns}
    yield UniqueKey(plan.pk_columns, has_equal_nulls=False)
    for column in plan.columns:
        if column.field.unique and column is not plan.pk:
            yield UniqueKey((column,), has_equal_nulls=False)
    for names in meta.unique_together:
        yield UniqueKey(tuple(by_name[name] for name in names), has_equal_nulls=False)
    for constraint in constraints_of_columns(plan.model):
        is_there = may_say_nulls or constraint.nulls_distinct is None
        if is_there and all(name in by_name for name in constraint.fields):
            columns = tuple(by_name[name] for name in constraint.fields)
            yield UniqueKey(columns, has_equal_nulls=constraint.nulls_distinct is False)


def constraints_of_columns(model: type[models.Model]) -> Iterator[models.UniqueConstraint]:
    """Yield the model's constraints that are of columns alone, hold for every row, and are checked at once."""
    for constraint in (model._meta.concrete_model or model)._meta.constraints:
        if (
            isinstance(constraint, models.UniqueConstraint)
            and constraint.fields
            and constraint.condition is None
            and constraint.deferrable is None
        ):
            yield constraint
