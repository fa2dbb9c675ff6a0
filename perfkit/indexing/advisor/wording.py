"""Says in Django's words what an index is: its expressions, its condition, its class. It asks models alone."""

from __future__ import annotations

from typing import Any, Final

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Func, Index, Model, OrderBy, Q, Value, functions
from django.db.models.fields.json import KeyTextTransform, KeyTransform

from perfkit.errors import UnwritableIndexError
from perfkit.indexing.advisor.owners import field_of
from perfkit.indexing.advisor.specs import BTREE, IndexSpec, Key
from perfkit.indexing.advisor.trees import Tree, of_text
from perfkit.indexing.declared import is_text
from perfkit.indexing.indexes import PortableIndex

FUNCTIONS: Final[dict[str, Any]] = {
    "lower": functions.Lower,
    "upper": functions.Upper,
    "length": functions.Length,
    "btrim": functions.Trim,
    "ltrim": functions.LTrim,
    "rtrim": functions.RTrim,
    "md5": functions.MD5,
    "reverse": functions.Reverse,
    "abs": functions.Abs,
    "ceil": functions.Ceil,
    "floor": functions.Floor,
    "coalesce": functions.Coalesce,
}
ARITHMETIC: Final = {"+": "__add__", "-": "__sub__", "*": "__mul__", "/": "__truediv__", "%": "__mod__"}
LOOKUPS: Final = {"=": "", "<": "__lt", "<=": "__lte", ">": "__gt", ">=": "__gte"}
TRUNCATED: Final = {"date": functions.TruncDate, "time": functions.TruncTime}
CASTS: Final[dict[str, Any]] = {
    "int2": models.SmallIntegerField,
    "int4": models.IntegerField,
    "int8": models.BigIntegerField,
    "float8": models.FloatField,
    "text": models.TextField,
    "bool": models.BooleanField,
    "date": models.DateField,
    "uuid": models.UUIDField,
    "timestamptz": models.DateTimeField,
}
CLASSES: Final = {
    "gin": "GinIndex",
    "gist": "GistIndex",
    "brin": "BrinIndex",
    "hash": "HashIndex",
    "spgist": "SpGistIndex",
}


def index_of(spec: IndexSpec, model: type[Model], name: str) -> Index:
    """Return the index as it would stand in `Meta.indexes`; whether it is the same, only a database can tell.

    Raises:
        UnwritableIndexError: Django has no words for it.
    """
    if spec.is_unique:
        raise UnwritableIndexError("it is unique, and so would be a UniqueConstraint")
    kind: type[Index] = _class_of(spec)
    more: dict[str, Any] = {"name": name}
    if spec.condition:
        more["condition"] = condition_of(_tree(spec.condition, model), model)
    if spec.include:
        more["include"] = tuple(_field(model, column).name for column in spec.include)
    if any(key.is_expression or key.nulls_first is not None for key in spec.keys):
        return kind(*(_ordered(key, model) for key in spec.keys), **more)
    fields = [("-" if key.descending else "") + _field(model, key.text).name for key in spec.keys]
    if any(key.operator_class for key in spec.keys):
        more["opclasses"] = [key.operator_class for key in spec.keys]
    return kind(fields=fields, **more)


def expression_of(tree: Tree, model: type[Model]) -> Any:
    """Return an expression of Django.

    Raises:
        UnwritableIndexError: Django has no words for it.
    """
    if tree[0] == "column":
        return F(_field(model, tree[1]).name)
    if tree[0] == "value":
        return Value(int(tree[1]) if tree[1].lstrip("-").isdecimal() else tree[1])
    if tree[0] == "collate":
        return functions.Collate(expression_of(tree[2], model), tree[1])
    made = {"cast": _cast, "call": _call, "operator": _operator}.get(tree[0], _nothing)(tree, model)
    if made is None:
        raise UnwritableIndexError(f"Django has no words for {tree[0]} {tree[1]}")
    return made


def _cast(tree: Tree, model: type[Model]) -> Any:
    match tree:
        case (_, ("date" | "time") as kind, (), ("call", "timezone", _, inner)):
            return TRUNCATED[kind](expression_of(inner, model))
        case (_, "numeric", (digits, places), inner):
            field = models.DecimalField(max_digits=digits, decimal_places=places)
            return functions.Cast(expression_of(inner, model), field)
        case (_, kind, (), inner) if kind in CASTS:
            return functions.Cast(expression_of(inner, model), CASTS[kind]())
    return None


def _call(tree: Tree, model: type[Model]) -> Any:
    match tree:
        case (_, "date_trunc", ("value", kind), ("call", "timezone", _, inner)):
            return functions.Trunc(expression_of(inner, model), kind)
        case (_, "extract", ("value", kind), ("call", "timezone", _, inner) | inner):
            return functions.Extract(expression_of(inner, model), kind)
    parts = [expression_of(each, model) for each in tree[2:]]
    return FUNCTIONS[tree[1]](*parts) if tree[1] in FUNCTIONS else Func(*parts, function=tree[1])


def _operator(tree: Tree, model: type[Model]) -> Any:
    match tree:
        case (_, ("->" | "->>") as sign, inner, ("value", key)):
            kind = KeyTransform if sign == "->" else KeyTextTransform
            return kind(key, expression_of(inner, model))
        case (_, sign, left, right) if sign in ARITHMETIC:
            return getattr(expression_of(left, model), ARITHMETIC[sign])(expression_of(right, model))
    return None


def _nothing(*_: object) -> None:
    return None


def condition_of(tree: Tree, model: type[Model]) -> Q:
    """Return a condition of Django.

    Raises:
        UnwritableIndexError: Django has no words for it.
    """
    if tree[0] in {"and", "or"}:
        parts = [condition_of(each, model) for each in tree[1:]]
        return Q(*parts, _connector=Q.AND if tree[0] == "and" else Q.OR)
    if tree[0] == "not" and tree[1][0] not in {"column", "null"}:
        return ~condition_of(tree[1], model)
    made = _truth(tree, model) or _comparison(tree, model)
    if made is None:
        raise UnwritableIndexError("Django has no words for its condition")
    return made


def _truth(tree: Tree, model: type[Model]) -> Q | None:
    match tree:
        case ("column", column):
            return Q((_field(model, column).name, True))
        case ("not", ("column", column)):
            return Q((_field(model, column).name, False))
        case ("null", ("column", column)):
            return Q((f"{_field(model, column).name}__isnull", True))
        case ("not", ("null", ("column", column))):
            return Q((f"{_field(model, column).name}__isnull", False))
    return None


def _comparison(tree: Tree, model: type[Model]) -> Q | None:
    match tree:
        case ("in", ("column", column), *values):
            field = _field(model, column)
            return Q((f"{field.name}__in", [_value(field, each) for each in values]))
        case ("operator", "<>", ("column", column), value):
            field = _field(model, column)
            return ~Q((field.name, _value(field, value)))
        case ("operator", "?", ("column", column), ("value", key)):
            field = _field(model, column)
            return Q((f"{field.name}__has_key", key)) if field.get_lookup("has_key") else None
        case ("operator", "~~", ("column", column), ("value", pattern)) if _is_prefix(pattern):
            return Q((f"{_field(model, column).name}__startswith", pattern[:-1]))
        case ("operator", sign, ("column", column), value) if sign in LOOKUPS:
            field = _field(model, column)
            return Q((f"{field.name}{LOOKUPS[sign]}", _value(field, value)))
    return None


def tree_of(text: str, model: type[Model]) -> Tree:
    """Return the tree of an expression over the columns of a model."""
    return _tree(text, model)


def _tree(text: str, model: type[Model]) -> Tree:
    fields = model._meta.local_concrete_fields
    texts = [str(each.column) for each in fields if is_text(each)]
    truths = [str(each.column) for each in fields if each.get_internal_type() == "BooleanField"]
    return of_text(text, texts=texts, truths=truths)


def _ordered(key: Key, model: type[Model]) -> Any:
    if key.is_expression:
        expression = expression_of(_tree(key.text, model), model)
    else:
        expression = F(_field(model, key.text).name)
    if key.operator_class:
        if not apps.is_installed("django.contrib.postgres"):
            raise UnwritableIndexError(
                "an operator class of an expression needs 'django.contrib.postgres' in INSTALLED_APPS"
            )
        from django.contrib.postgres.indexes import OpClass

        expression = OpClass(expression, name=key.operator_class)
    if not key.descending and key.nulls_first is None:
        return expression
    where = {True: {"nulls_first": True}, False: {"nulls_last": True}}.get(key.nulls_first, {})  # type: ignore[arg-type]  # None is no key of it
    return OrderBy(expression, descending=key.descending, **where)


def _class_of(spec: IndexSpec) -> Any:
    if spec.method == BTREE:
        has_nulls = any(key.nulls_first is not None for key in spec.keys)
        return PortableIndex if has_nulls else Index
    if spec.method not in CLASSES:
        raise UnwritableIndexError(f"Django has no class for indexes of the method {spec.method}")
    from django.contrib.postgres import indexes

    return getattr(indexes, CLASSES[spec.method])


def _field(model: type[Model], column: str) -> Any:
    field = field_of(model, column)
    if field is None:
        raise UnwritableIndexError(f"{model._meta.label} has no field of its own for the column {column}")
    return field


def _value(field: Any, tree: Tree) -> Any:
    if tree[0] != "value":
        raise UnwritableIndexError("its condition compares with what is no value")
    target = getattr(field, "target_field", field)
    try:
        return target.to_python(tree[1])
    except ValidationError as error:
        raise UnwritableIndexError(f"its condition compares {field.name} with what it cannot hold") from error


def _is_prefix(pattern: str) -> bool:
    return pattern.endswith("%") and not set(pattern[:-1]) & set("%_\\")
