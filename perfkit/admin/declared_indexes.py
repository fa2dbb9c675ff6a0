"""The indexes that a model declares, as PostgreSQL will have them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.db.models import CharField, F, Field, Index, Model, TextField, UniqueConstraint
from django.db.models.expressions import OrderBy
from django.db.models.functions import Upper

from perfkit.postgres.table_indexes import IndexKey, TableIndex

PATTERN: Final = "text_pattern_ops"
UNKNOWN: Final = "?"


def declared_indexes(model: type[Model]) -> list[TableIndex]:
    """Return the indexes that hold all rows of the model's own table, as far as its class declares them."""
    together = [
        _index(UNKNOWN, "btree", [_key(model, name) for name in names], is_unique=True)
        for names in model._meta.unique_together
    ]
    return [*_of_fields(model), *_of_meta(model), *together]


def _of_fields(model: type[Model]) -> Iterator[TableIndex]:
    field: Any
    for field in model._meta.local_concrete_fields:
        if field.unique or field.db_index:
            column = str(field.column)
            yield _index(column, "btree", [IndexKey(column, "", is_bytewise=False)], is_unique=field.unique)
            if isinstance(_target(field), CharField | TextField):  # then Django makes a second one
                yield _index(column, "btree", [IndexKey(column, PATTERN, is_bytewise=False)])


def _of_meta(model: type[Model]) -> Iterator[TableIndex]:
    meta = model._meta
    constraints = [each for each in meta.constraints if isinstance(each, UniqueConstraint)]
    for each in [*meta.indexes, *constraints]:
        if each.condition is not None:
            continue
        names = [name for name, _ in each.fields_orders] if isinstance(each, Index) else each.fields
        classes = each.opclasses or [""] * len(names)
        keys = [_key(model, name, operator) for name, operator in zip(names, classes, strict=True)]
        keys += [_expression_key(model, expression) for expression in each.expressions]
        yield _index(each.name, _method(each), keys, is_unique=isinstance(each, UniqueConstraint))


def _method(index: Index | UniqueConstraint) -> str:
    suffix = getattr(index, "suffix", "idx")
    return "btree" if suffix == "idx" else str(suffix)


def _index(name: str, method: str, keys: Sequence[IndexKey], *, is_unique: bool = False) -> TableIndex:
    return TableIndex(name, method, is_unique, tuple(keys))


def _key(model: type[Model], name: str, operator_class: str = "") -> IndexKey:
    return IndexKey(str(model._meta.get_field(name).column), operator_class, is_bytewise=False)  # type: ignore[union-attr]


def _expression_key(model: type[Model], expression: Any) -> IndexKey:
    operator_class = ""
    while True:
        if isinstance(expression, OrderBy):
            expression = expression.expression
        elif type(expression).__name__ == "OpClass":  # its module cannot be imported without psycopg
            operator_class = expression.extra["name"]
            (expression,) = expression.get_source_expressions()
        else:
            break
    if isinstance(expression, F):
        return _key(model, expression.name, operator_class)  # type: ignore[attr-defined]  # missing in the stubs
    if isinstance(expression, Upper):
        (source,) = expression.get_source_expressions()
        if isinstance(source, F):
            key = _key(model, source.name, operator_class)  # type: ignore[attr-defined]  # likewise
            return IndexKey(f"upper({key.text})", operator_class, is_bytewise=False)
    return IndexKey(UNKNOWN, operator_class, is_bytewise=False)


def _target(field: Field[Any, Any]) -> Any:
    """Return the field whose type a column has: of a foreign key, what it refers to."""
    while field.is_relation and field.remote_field is not None:
        field = field.target_field  # type: ignore[attr-defined]  # a foreign key's
    return field
