"""One way through a query: the values met, and what names the parts of an expression."""

from __future__ import annotations

import datetime
import enum
import zoneinfo
from collections.abc import Callable
from typing import Any, Final

from django.db.models import Field, ForeignObjectRel, Model
from django.db.models.expressions import BaseExpression, Expression, F
from django.db.models.lookups import Lookup
from django.db.models.sql import Query
from django.utils.tree import Node

from perfkit.caching.fingerprints import DJANGOS, dotted, field_token
from perfkit.caching.plain_values import UnknownShapeError, marked

Name = tuple[Any, ...]
Namer = Callable[[Any, "Walk"], Name]


class Walk:
    """One way through a query, outer parts first.

    Args:
        name_node: Names an expression, a condition or a query.
        name_query: Names a query by all that it consists of.
    """

    __slots__ = ("_named", "_ordinals", "depth", "is_resolved", "name_node", "name_query", "values")

    def __init__(self, name_node: Namer, name_query: Callable[[Query, Walk], Name]) -> None:
        self.values: list[object] = []
        self.depth = 0
        self.is_resolved = True
        self.name_node = name_node
        self.name_query = name_query
        self._ordinals: dict[int, int] = {}
        self._named: set[int] = set()

    def value(self, value: object) -> Name:
        """Keep a parameter's value and return the name of its type."""
        mark, plain = marked(value)
        self.values.append(plain)
        return mark

    def ordinal(self, met: object) -> int:
        """Return the number of something that is equal only to itself."""
        return self._ordinals.setdefault(id(met), len(self._ordinals))

    def is_known(self, met: object) -> bool:
        """Return whether its content has been named before, and take it as named."""
        if id(met) in self._named:
            return True
        self._named.add(id(met))
        return False


_LITERALS: Final = frozenset({type(None), str, bool, int})
_CONTAINERS: Final = frozenset({list, tuple, dict})


def part_of(part: Any, walk: Walk) -> object:
    """Return what names any part of an expression's state."""
    cls = type(part)
    if cls in _LITERALS:
        return _literal(part)
    if cls in _CONTAINERS:
        return _container(part, walk, part_of)
    if isinstance(part, BaseExpression | F | Node):
        return walk.name_node(part, walk)
    if isinstance(part, Field | ForeignObjectRel):
        return field_token(part)
    if isinstance(part, enum.Enum) and cls.__module__.startswith(DJANGOS):
        return f"{dotted(cls)}.{part.name}"
    return _zone_or_value(part, walk)


def _literal(part: str | bool | int | None) -> str | int | None:
    """Return a text that no name of a class or a field can be, and truth values that are not 1 and 0."""
    if isinstance(part, str):
        return f"'{part}"
    if isinstance(part, bool):
        return "true" if part else "false"
    return part


def _container(part: Any, walk: Walk, name_item: Callable[[Any, Walk], object]) -> Name:
    if isinstance(part, dict):
        return ("dict", *[(_key(key), name_item(item, walk)) for key, item in part.items()])
    return (type(part).__name__, *[name_item(item, walk) for item in part])


def _key(key: object) -> object:
    if type(key) is not str:
        raise UnknownShapeError(type(key))
    return key


def _zone_or_value(part: Any, walk: Walk) -> object:
    if isinstance(part, type):
        return dotted(part)
    return zone_name(part) if isinstance(part, datetime.tzinfo) else walk.value(part)


def zone_name(zone: datetime.tzinfo) -> str:
    """Return what names a time zone completely; the name that anybody may give it does not."""
    if type(zone) is datetime.timezone or (type(zone) is zoneinfo.ZoneInfo and zone.key is not None):
        return repr(zone)
    raise UnknownShapeError(type(zone))


def made_from(part: Any, walk: Walk) -> object:
    """Return what tells an argument of a constructor from another that Django takes for different."""
    cls = type(part)
    if cls in _CONTAINERS:
        return _container(part, walk, made_from)
    if isinstance(part, Expression) and not isinstance(part, Lookup):
        args, kwargs = part.__dict__["_constructor_args"]
        return (dotted(cls), made_from(args, walk), made_from(kwargs, walk))
    if isinstance(part, Node):
        return (dotted(cls), part.connector, int(part.negated), made_from(part.children, walk))
    if isinstance(part, F):
        return (dotted(cls), made_from(part.__dict__["name"], walk))
    return _foreign(part, walk)


def _foreign(part: Any, walk: Walk) -> object:
    cls = type(part)
    if isinstance(part, Model):
        return (dotted(cls), walk.value(part.pk))
    if part is not None and _is_equal_only_to_itself(cls):
        return ("object", walk.ordinal(part))
    return part_of(part, walk)


def _is_equal_only_to_itself(cls: Any) -> bool:
    return cls.__eq__ is object.__eq__
