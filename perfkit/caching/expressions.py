"""What names an expression of a query: everything that its SQL may depend on, as a tuple.

# Note [All of an expression's state]
An expression's SQL is made from its class, its state and the query around it.
So the state is named as a whole, attribute by attribute; what is not known ends the attempt.
Only what Django derives from the rest is left out: its cached properties.
The arguments of the constructor are named as well, for Django compares expressions by them:
ordering by an expression that is also selected gives `ORDER BY 2`, and only if they were made alike.
What Django compares by identity, subqueries above all, is numbered in the order in which it is met.
"""

from __future__ import annotations

import datetime
import functools
import uuid
from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import FieldError
from django.db.models import Q
from django.db.models.expressions import BaseExpression, Col, Expression, F, RawSQL, Value
from django.db.models.fields.json import HasKeyLookup
from django.db.models.functions.datetime import TimezoneMixin
from django.db.models.lookups import Lookup, UUIDTextMixin
from django.db.models.sql import Query
from django.db.models.sql.where import NothingNode, WhereNode
from django.utils import timezone
from django.utils.functional import cached_property

from perfkit.caching.fingerprints import DJANGOS, dotted, field_token
from perfkit.caching.plain_values import UnknownShapeError, marked
from perfkit.caching.walk import Name, Namer, Walk, made_from, part_of, zone_name

_DERIVED_FROM_SELF: Final = frozenset(
    {"_constructor_args", "contains_aggregate", "contains_over_clause", "contains_column_references"}
    | {"contains_subquery", "allowed_default", "output_field", "is_summary"}
)
_NO_OUTPUT: Final = ((), (None,))
_COL_STATE: Final = _DERIVED_FROM_SELF | {
    "alias",
    "target",
    "possibly_multivalued",
    "convert_value",
    "identity",
}
_LOOKUP_STATE: Final = _DERIVED_FROM_SELF | {"lhs", "rhs", "bilateral_transforms", "convert_value"}
_WHERE_STATE: Final = _DERIVED_FROM_SELF | {"children", "connector", "negated", "resolved"}
_VALUE_STATE: Final = _DERIVED_FROM_SELF | {"value", "for_save", "convert_value", "identity"}
_CHANGED_BY_COMPILING: Final = (UUIDTextMixin, HasKeyLookup)
_INFERRED: Final = {
    marked(sample)[0]: field_token(Value(sample).output_field)
    for sample in (
        *("", True, 1, 1.0, b"", Decimal(), uuid.UUID(int=0)),
        *(
            datetime.datetime(1, 1, 1, tzinfo=datetime.UTC),
            datetime.date.min,
            datetime.time.min,
            datetime.timedelta(),
        ),
    )
}
"""What Django takes a plain value for where no field is given."""


def name_of(node: object, walk: Walk) -> Name:
    """Return what names an expression, a condition or a query.

    Raises:
        UnknownShapeError: Something about it is not known.
    """
    cls = type(node)
    name = _NAMERS.get(cls)
    if name is None:
        name = _NAMERS[cls] = _namer(cls)
    return name(node, walk)


def _namer(cls: type) -> Namer:
    is_djangos = cls.__module__.startswith(DJANGOS)
    if not is_djangos or issubclass(cls, (RawSQL, *_CHANGED_BY_COMPILING)):
        raise UnknownShapeError(cls)
    if issubclass(cls, Lookup):
        return functools.partial(_lookup, dotted(cls))
    if issubclass(cls, TimezoneMixin):
        return _zoned
    if issubclass(cls, Expression):
        return _expression
    if issubclass(cls, BaseExpression):
        return _only_itself
    if issubclass(cls, F):
        return _reference
    raise UnknownShapeError(cls)


def _col(col: Any, walk: Walk) -> Name:
    state = col.__dict__
    args, kwargs = state["_constructor_args"]
    alias, target = state["alias"], state["target"]
    if not state.keys() <= _COL_STATE or kwargs or args[0] != alias or args[1] is not target:
        raise UnknownShapeError(Col)
    token = field_token(target)
    output = state["output_field"]
    output_token = token if output is target else field_token(output)
    how_made = 2 if args[2:] in _NO_OUTPUT else 3
    if walk.depth and col.possibly_multivalued:
        return ("many", alias, token, output_token, how_made)
    return ("col", alias, token, output_token, how_made)


def _lookup(cls_name: str, lookup: Any, walk: Walk) -> Name:
    state = lookup.__dict__
    if not state.keys() <= _LOOKUP_STATE or state["bilateral_transforms"]:
        raise UnknownShapeError(type(lookup))
    left = name_of(state["lhs"], walk)
    right = state["rhs"]
    if hasattr(right, "as_sql"):
        return (cls_name, left, name_of(right, walk))
    return (cls_name, left, walk.value(right))


def _where(node: Any, walk: Walk) -> Name:
    state = node.__dict__
    if not state.keys() <= _WHERE_STATE:
        raise UnknownShapeError(WhereNode)
    children = [name_of(child, walk) for child in state["children"]]
    negated = "not" if state["negated"] else ""
    return (state["connector"], negated, "resolved" if node.resolved else "", *children)


def _nothing(node: NothingNode, walk: Walk) -> Name:
    return ("nothing", walk.ordinal(node))


def _q(node: Q, walk: Walk) -> Name:
    """Name a condition that Django resolves only when it compiles."""
    children = [
        (child[0], part_of(child[1], walk)) if isinstance(child, tuple) else name_of(child, walk)
        for child in node.children
    ]
    return ("Q", str(node.connector), "not" if node.negated else "", *children)


def _value(expression: Value, walk: Walk) -> Name:
    state = expression.__dict__
    if not state.keys() <= _VALUE_STATE:
        raise UnknownShapeError(Value)
    value = state["value"]
    args, kwargs = state["_constructor_args"]
    mark = walk.value(value)
    output = state.get("output_field")
    field = _INFERRED.get(mark, "") if output is None else field_token(output)
    if len(args) == 1 and args[0] is value and not kwargs and not expression.for_save:
        return ("Value", mark, field)
    made = (made_from(args, walk), made_from(kwargs, walk))
    return ("Value", mark, field, "saved" if expression.for_save else "", made)


def _zoned(expression: Any, walk: Walk) -> Name:
    """Name a function of a moment, which depends on the current time zone unless it has its own."""
    zone = timezone.get_current_timezone() if expression.tzinfo is None else expression.tzinfo
    return ("zoned", zone_name(zone), int(bool(settings.USE_TZ)), _expression(expression, walk))


def _expression(expression: Any, walk: Walk) -> Name:
    args, kwargs = expression.__dict__["_constructor_args"]
    made = (made_from(args, walk), made_from(kwargs, walk))
    return (*_state(expression, walk), _output(expression, walk), made)


def _only_itself(expression: Any, walk: Walk) -> Name:
    """Name what Django compares by identity: how often the same one is met makes a difference."""
    ordinal = walk.ordinal(expression)
    if walk.is_known(expression):
        return ("again", ordinal)
    return ("one", ordinal, *_state(expression, walk), _output(expression, walk))


def _reference(reference: Any, walk: Walk) -> Name:
    return _state(reference, walk)


def _query(query: Query, walk: Walk) -> Name:
    ordinal = walk.ordinal(query)
    if walk.is_known(query):
        return ("again", ordinal)
    was_resolved, walk.is_resolved = walk.is_resolved, True
    walk.depth += 1
    name = walk.name_query(query, walk)
    walk.depth -= 1
    walk.is_resolved = was_resolved
    return ("one", ordinal, *name)


def _state(node: Any, walk: Walk) -> Name:
    cls: Any = type(node)
    state = node.__dict__
    skipped = _derived(cls)
    named: list[object] = [dotted(cls)]
    for attribute in sorted(state):
        if attribute not in skipped:
            named += (attribute, part_of(state[attribute], walk))
    return tuple(named)


@functools.lru_cache(maxsize=1024)
def _derived(cls: type) -> frozenset[str]:
    """Return the attributes that Django computes from the others, and those named elsewhere."""
    members: dict[str, object] = {}
    for base in reversed(cls.__mro__):
        members |= vars(base)
    computed = {name for name, member in members.items() if isinstance(member, cached_property)}
    return frozenset(computed | {"_constructor_args", "output_field"})


def _output(expression: Any, walk: Walk) -> str:
    """Return the name of the field that the expression's result is taken for."""
    if not walk.is_resolved:
        field = expression.__dict__.get("output_field")
        return "" if field is None else field_token(field)
    try:
        field = expression._output_field_or_none  # noqa: SLF001  # as Django asks
    except (FieldError, AttributeError):  # of mixed types, or of something that is resolved later
        return "unclear"
    return "" if field is None else field_token(field)


_NAMERS: Final[dict[type, Namer]] = {
    Col: _col,
    NothingNode: _nothing,
    Q: _q,
    Query: _query,
    Value: _value,
    WhereNode: _where,
}
"""By exact class; only Django's classes are added, and those live as long as the process."""
