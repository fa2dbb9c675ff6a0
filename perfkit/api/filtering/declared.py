"""What the fields of a filter schema say: which column each is compared with, and how."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import reduce
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from django.db.models import Field, Model, Q
from ninja import FilterLookup
from ninja.filter_schema import FilterSchema
from pydantic.fields import FieldInfo

from perfkit.api.filtering.columns import COMPARISONS, TRANSFORMED, column_at, kind_of
from perfkit.api.filtering.lookups import FromDay, ILikeContains
from perfkit.errors import ListDeclarationError

CONNECTORS: Final[dict[str, Callable[[Q, Q], Q]]] = {
    "AND": operator.and_,
    "OR": operator.or_,
    "XOR": operator.xor,
}
WIDER: Final = {(int, float), (int, Decimal), (float, Decimal)}
"""Types that a column takes for its own."""
LOWER: Final = ("gt", "gte")
UPPER: Final = ("lt", "lte")


@dataclass(frozen=True, slots=True)
class Condition:
    """What a value is compared with.

    Attributes:
        path: The whole of it, with the lookup.
        base: Its columns.
        lookup: Its transforms and lookup.
        column: None where there is no model to know it by.
    """

    path: str
    base: str
    lookup: str
    column: Field[Any, Any] | None


@dataclass(frozen=True, slots=True)
class Filter:
    """One parameter that filters.

    Attributes:
        parameter: As a request names it: its alias, where it has one.
        kind: What its values are in Python; None where its annotation does not say.
        conditions: Empty where a method of the schema makes the condition.
        method: Its name then.
        lower: The one with the lower end of the range whose upper end this is.
    """

    name: str
    parameter: str
    kind: type | None
    is_list: bool
    lookup: FilterLookup
    conditions: tuple[Condition, ...]
    method: str = ""
    lower: Filter | None = None

    def q(self, schema: FilterSchema, value: Any) -> Q:
        """Return the condition of a value."""
        if self.method:
            return getattr(schema, self.method)(value)  # type: ignore[no-any-return]  # what its author wrote
        compared = (
            self.lookup.compared(value) if isinstance(self.lookup, FromDay) and value is not None else value
        )
        leaves = [Q((each.path, compared)) for each in self.conditions]
        return reduce(CONNECTORS[self.lookup.expression_connector], leaves)


def filters_of(schema: type[FilterSchema], model: type[Model] | None) -> tuple[Filter, ...]:
    """Return what the fields of a schema say.

    Args:
        model: Whose columns they name; None where that is not known before a request.

    Raises:
        ListDeclarationError: The model has no such column, or it cannot be compared so.
    """
    found = [_filter(schema, model, name, info) for name, info in schema.model_fields.items()]
    if schema.model_config.get("expression_connector", "AND") != "AND":
        return tuple(found)
    return tuple(_with_lower(each, found) for each in found)


def unwrapped(annotation: Any) -> tuple[Any, bool]:
    """Return the bare type of an annotation, and whether it is a list of them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return unwrapped(get_args(annotation)[0])
    if origin in {Union, UnionType}:
        parts = [each for each in get_args(annotation) if each is not type(None)]
        return unwrapped(parts[0]) if len(parts) == 1 else (None, False)
    if origin in {list, set, tuple}:
        return unwrapped(get_args(annotation)[0])[0], True
    return annotation, False


def _filter(schema: type[FilterSchema], model: type[Model] | None, name: str, info: FieldInfo) -> Filter:
    kind, is_list = unwrapped(info.annotation)
    lookups = [each for each in info.metadata if isinstance(each, FilterLookup)]
    method = f"filter_{name}"
    if len(lookups) > 1:
        raise ListDeclarationError(schema.__name__, name, "it has two lookups")
    if isinstance(info.json_schema_extra, dict) and "q" in info.json_schema_extra:
        raise ListDeclarationError(schema.__name__, name, "it has Field(q=…): write FilterLookup(…)")
    lookup = lookups[0] if lookups else FilterLookup(None)
    if schema.custom_expression is not FilterSchema.custom_expression:
        return Filter(name, info.alias or name, _type(kind), is_list, lookup, ())
    if callable(getattr(schema, method, None)):
        return Filter(name, info.alias or name, _type(kind), is_list, lookup, (), method=method)
    paths = [lookup.q] if isinstance(lookup.q, str) else lookup.q or [name]
    conditions = []
    for path in paths:
        whole = f"{name}{path}" if path.startswith("__") else path
        try:
            condition = _condition(model, whole)
            _require_comparable(condition, kind, is_list=is_list, lookup=lookup)
        except LookupError as error:
            raise ListDeclarationError(schema.__name__, name, str(error.args[0])) from error
        conditions.append(condition)
    return Filter(name, info.alias or name, _type(kind), is_list, lookup, tuple(conditions))


def _type(kind: Any) -> type | None:
    if get_origin(kind) is Literal:
        return type(get_args(kind)[0])
    return kind if isinstance(kind, type) else None


def _condition(model: type[Model] | None, path: str) -> Condition:
    """Return what the model says of a path; a LookupError says what is wrong with it."""
    if model is None:
        base, _, lookup = path.rpartition("__")
        return Condition(path, base or lookup, lookup if base else "exact", None)
    column, rest = column_at(model, path)
    if column is None:
        raise LookupError(f"{model._meta.label} has no column at {path!r}")
    base = path.removesuffix(f"__{rest}") if rest else path
    rest = rest or "exact"
    _require_lookup(column, path, rest)
    return Condition(path, base, rest, column)


def _require_lookup(column: Field[Any, Any], path: str, rest: str) -> None:
    *transforms, last = rest.split("__")
    kind: Any = column
    for part in transforms:
        transform = None if kind.is_relation else kind.get_transform(part)
        if transform is None:
            raise LookupError(f"{part!r} in {path!r} is neither a column nor a transform")
        kind = getattr(transform, "output_field", None) or kind
    if last == ILikeContains.lookup_name and kind_of(column) is not str:
        raise LookupError(f"{path.removesuffix(f'__{last}')!r} is no column of text")
    if kind.get_lookup(last) is None and (kind.is_relation or kind.get_transform(last) is None):
        raise LookupError(f"{last!r} in {path!r} is neither a column nor a lookup")
    if last in {"regex", "iregex"}:
        raise LookupError(f"{path!r} lets anybody send an expression that takes the database's time")
    if last == "range":
        raise LookupError(f"{path!r} is two values: declare one parameter with __gte and one with __lte")


def _require_comparable(condition: Condition, kind: Any, *, is_list: bool, lookup: FilterLookup) -> None:
    last = condition.lookup.rpartition("__")[2]
    if is_list != (last == "in") and condition.column is not None and kind_of(condition.column) is not None:
        raise LookupError(
            "it is a list, which only a lookup __in takes" if is_list else "its lookup __in takes a list"
        )
    if last == "isnull":
        if kind is not bool or is_list:
            raise LookupError("its lookup __isnull takes a bool")
        return
    if condition.column is None:
        return
    wanted, compares = kind_of(condition.column), condition.lookup in COMPARISONS
    transform = condition.lookup.removesuffix(f"__{last}")
    if transform in TRANSFORMED:
        wanted, compares = TRANSFORMED[transform], last in COMPARISONS or last == transform
    if isinstance(lookup, FromDay):
        if wanted is not datetime or kind is not date:
            raise LookupError("it is for a date, and a column of moments")
        return
    given = _type(kind)
    if given is None or wanted is None or not compares:
        return
    if not issubclass(given, Enum) and given is not wanted and (given, wanted) not in WIDER:
        whose = condition.path.removesuffix(f"__{last}") if last in COMPARISONS else condition.path
        raise LookupError(f"its values are {given.__name__}, those of {whose!r} are {wanted.__name__}")


def _with_lower(upper: Filter, others: list[Filter]) -> Filter:
    """Return a filter with the other end of its range, where another parameter is that."""
    base = _end(upper, UPPER)
    lower = next((each for each in others if base and _end(each, LOWER) == base), None)
    return replace(upper, lower=lower) if lower else upper


def _end(each: Filter, lookups: tuple[str, ...]) -> str:
    """Return the columns of which a filter is an end of a range; empty where it is none."""
    is_end = len(each.conditions) == 1 and each.conditions[0].lookup in lookups
    return each.conditions[0].base if is_end else ""
