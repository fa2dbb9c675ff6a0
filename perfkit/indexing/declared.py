"""The indexes that a model declares, in its fields and its Meta; reads the model alone, no database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from django.db.models import F, Field, Index, Model, Q, UniqueConstraint
from django.db.models.expressions import OrderBy
from django.db.models.functions import Upper

BTREE: Final = "btree"
SUFFIXES: Final = {"idx": BTREE, "btree": BTREE}
"""How the index classes of Django say their method; the others say it as PostgreSQL does."""


@dataclass(frozen=True, slots=True)
class IndexKey:
    """One column of an index.

    Attributes:
        column: The attribute of the field; empty for an expression that is no column.
        is_upper: Whether it is the column in capital letters, which Django compares for `icontains` and the like.
        nulls_first: Where rows without a value stand, PostgreSQL's own place where the index says none.
        operator_class: Empty where it is PostgreSQL's own.
    """

    column: str
    is_upper: bool = False
    descending: bool = False
    nulls_first: bool = False
    operator_class: str = ""


@dataclass(frozen=True, slots=True)
class DeclaredIndex:
    """One index of a model's table.

    Attributes:
        name: Of the index, or what makes it: `primary key`, `unique`, `db_index`.
        table: The `db_table` of the model.
        is_named: Whether `name` is that of the index in the database.
        method: `btree`, `gin`, `gist`, …
        condition: Of a partial index.
        has_patterns: Whether Django gives PostgreSQL a second index of the column, for `LIKE 'a%'`.
    """

    name: str
    table: str
    keys: tuple[IndexKey, ...]
    is_named: bool = False
    method: str = BTREE
    condition: Q | None = None
    has_patterns: bool = False


@lru_cache(maxsize=512)
def declared_indexes(model: type[Model]) -> tuple[DeclaredIndex, ...]:
    """Return the indexes of the model's own table: of fields, unique constraints and `Meta.indexes`.

    What a migration makes by itself is not seen.

    Args:
        model: No proxy.
    """
    indexes = [_of_index(model, each) for each in model._meta.indexes]
    return (*_of_fields(model), *_of_constraints(model), *indexes)


def _of_fields(model: type[Model]) -> Iterator[DeclaredIndex]:
    for field in model._meta.local_concrete_fields:
        if field.primary_key or field.unique or field.db_index:  # type: ignore[attr-defined]  # missing in the stubs
            name = "primary key" if field.primary_key else "unique" if field.unique else "db_index"
            key = IndexKey(field.attname)
            yield DeclaredIndex(
                f"{name} of {field.name}", model._meta.db_table, (key,), has_patterns=is_text(field)
            )
    if len(model._meta.pk_fields) > 1:
        yield DeclaredIndex(
            "primary key",
            model._meta.db_table,
            tuple(IndexKey(field.attname) for field in model._meta.pk_fields),
        )


def _of_constraints(model: type[Model]) -> Iterator[DeclaredIndex]:
    for names in model._meta.unique_together:
        yield DeclaredIndex("unique_together", model._meta.db_table, tuple(_of_names(model, names, ())))
    for constraint in model._meta.constraints:
        if isinstance(constraint, UniqueConstraint):
            keys = (
                tuple(_of_expression(model, each) for each in constraint.expressions)
                if constraint.expressions
                else tuple(_of_names(model, constraint.fields, constraint.opclasses))  # type: ignore[attr-defined]  # missing in the stubs
            )
            yield DeclaredIndex(
                constraint.name, model._meta.db_table, keys, is_named=True, condition=constraint.condition
            )


def _of_index(model: type[Model], index: Index) -> DeclaredIndex:
    if index.expressions:
        keys = tuple(_of_expression(model, each) for each in index.expressions)
    else:
        names = [f"-{name}" if order else name for name, order in index.fields_orders]
        keys = tuple(_of_names(model, names, index.opclasses))
    return DeclaredIndex(
        index.name,
        model._meta.db_table,
        keys,
        is_named=True,
        method=SUFFIXES.get(index.suffix, index.suffix),
        condition=index.condition,
    )


def _of_names(model: type[Model], names: Iterable[str], classes: Iterable[str]) -> Iterator[IndexKey]:
    all_classes = list(classes)
    for place, name in enumerate(names):
        descending = name.startswith("-")
        operator_class = all_classes[place] if place < len(all_classes) else ""
        column = model._meta.get_field(name.removeprefix("-")).attname  # type: ignore[union-attr]  # a column
        yield IndexKey(column, descending=descending, nulls_first=descending, operator_class=operator_class)


def _of_expression(model: type[Model], expression: Any) -> IndexKey:
    descending, nulls_first, operator_class = False, None, ""
    if isinstance(expression, OrderBy):
        descending = expression.descending
        nulls_first = True if expression.nulls_first else False if expression.nulls_last else None
        expression = expression.expression
    if type(expression).__name__ == "OpClass":  # of django.contrib.postgres, which needs psycopg
        operator_class = expression.extra["name"]
        (expression,) = expression.get_source_expressions()
    is_upper = isinstance(expression, Upper)
    if is_upper:
        (expression,) = expression.get_source_expressions()
    column = ""
    if isinstance(expression, F):
        column = model._meta.get_field(expression.name).attname  # type: ignore[attr-defined,union-attr]  # a column
    return IndexKey(
        column,
        is_upper=is_upper,
        descending=descending,
        nulls_first=descending if nulls_first is None else nulls_first,
        operator_class=operator_class,
    )


def is_text(field: Field[Any, Any]) -> bool:
    """Whether the values of a field are text, those of a relation by what it refers to."""
    target = getattr(field, "target_field", field)
    return target.get_internal_type() in {"CharField", "TextField", "SlugField", "FileField", "FilePathField"}
