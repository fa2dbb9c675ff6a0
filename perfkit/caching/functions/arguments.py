"""What tells a call of a function from all others: its arguments, whatever way they are written.

# Note [What names a call]
Positional and keyword spellings of one call are bound to the function's parameters, defaults included.
A plain value is told apart by its exact type (`1`, `True`, `1.0` and `"1"` are four), a collection by its items,
an instance of a model by its row and all that it holds, a queryset by its query, a dataclass by its fields,
a class by its name. Anything else names no call.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import inspect
import marshal
import secrets
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any, Final

import msgspec
from django.core.exceptions import EmptyResultSet
from django.db import connections, router
from django.db.models import Model, QuerySet
from django.db.models.fields.files import FieldFile
from django.utils.safestring import SafeString

from perfkit.caching.bypass import Bypass
from perfkit.caching.databases import tag_scope
from perfkit.caching.plain_values import UnknownShapeError, marked
from perfkit.caching.queries import prepared_read
from perfkit.caching.registry import cached_models, owners, table_name, track, tracked_tables
from perfkit.caching.tags import any_write_tag, row_tag, table_tag
from perfkit.errors import UncacheableArgumentError

DIGEST_CHARACTERS: Final = 32

PREFETCHED: Final = "_prefetched_objects_cache"

_encode: Final = msgspec.msgpack.Encoder().encode


class Tags(list[str]):
    """The tags of rows that were met.

    Attributes:
        above: Ids of the instances that are being named, for they may refer to each other.
    """

    def __init__(self) -> None:
        super().__init__()
        self.above: set[int] = set()


class Bound:
    """The arguments of one call, by the names of the parameters."""

    def __init__(self, function: str, arguments: Mapping[str, Any]) -> None:
        self._function = function
        self.arguments = arguments

    def digest(self, names: Iterable[str]) -> tuple[str, tuple[str, ...]]:
        """Return what names the values of these parameters, and the tags of the rows that are among them.

        Raises:
            UncacheableArgumentError: One of them names no call.
            Bypass: One of them is of rows that nobody watches.
        """
        tags = Tags()
        parts = []
        for name in names:
            value = self.arguments[name]
            try:
                parts.append([name, _named(value, tags)])
            except UnknownShapeError as error:
                kind = error.args[0] if error.args else type(value)
                text = kind if isinstance(kind, str) else f"of type {kind.__module__}.{kind.__qualname__}"
                raise UncacheableArgumentError(self._function, name, text) from error
        digest = hashlib.sha256(_packed(parts)).hexdigest()[:DIGEST_CHARACTERS]
        return digest, tuple(dict.fromkeys(tags))


class Parameters:
    """The parameters of a function, and the binding of arguments to them."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._signature = inspect.signature(function)
        self.function = f"{function.__module__}.{function.__qualname__}"
        self.names = list(self._signature.parameters)
        kinds = [each.kind for each in self._signature.parameters.values()]
        self._keywords = next(
            (
                name
                for name, kind in zip(self.names, kinds, strict=True)
                if kind is inspect.Parameter.VAR_KEYWORD
            ),
            "",
        )

    def bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound:
        """Return the arguments of a call by parameter, defaults included.

        Raises:
            TypeError: The function does not take them.
        """
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if self._keywords:
            extra = bound.arguments[self._keywords]
            bound.arguments[self._keywords] = dict(sorted(extra.items()))
        return Bound(self.function, bound.arguments)


def mark_of(function: Callable[..., Any]) -> str:
    """Return what tells a function from others of its name: those made within functions may have one name.

    It is the same in all processes, unless the function encloses what names nothing: then it is this one's alone.
    """
    code = getattr(inspect.unwrap(function), "__code__", None)
    name = getattr(function, "__qualname__", "")
    if code is None or ("<locals>" not in name and "<lambda>" not in name):
        return ""
    cells = []
    for cell in inspect.unwrap(function).__closure__ or ():
        try:
            cells.append(_named(cell.cell_contents, Tags()))
        except (UnknownShapeError, ValueError):  # a ValueError: it is empty yet
            cells.append(secrets.token_hex(8))
    return hashlib.sha256(_packed([marshal.dumps(code), cells])).hexdigest()[:16]


def _named(value: Any, tags: Tags) -> Any:
    """Return plain values that name `value` and nothing else; add the tags of what it stands for.

    Raises:
        UnknownShapeError: It names no call.
    """
    kind = type(value)
    of_kind = _BY_KIND.get(kind) or next(
        (name for base, name in _BY_BASE.items() if isinstance(value, base)), None
    )
    if of_kind is not None:
        return of_kind(value, tags)
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return ["dataclass", _dotted(kind), [[name, _named(part, tags)] for name, part in fields.items()]]
    mark, plain = marked(value)
    return [list(mark), plain]


def _named_items(items: Iterable[Any], tags: Tags) -> Any:
    return [_dotted(type(items)), [_named(part, tags) for part in items]]


def _named_set(items: Iterable[Any], tags: Tags) -> Any:
    return [_dotted(type(items)), sorted(_packed(_named(part, tags)) for part in items)]


def _named_dict(items: Mapping[Any, Any], tags: Tags) -> Any:
    return ["dict", [[_named(key, tags), _named(part, tags)] for key, part in items.items()]]


def _named_tuple(value: tuple[Any, ...], tags: Tags) -> Any:
    if not hasattr(value, "_fields"):
        raise UnknownShapeError(type(value))
    return _named_items(value, tags)


def _named_instance(instance: Model, tags: Tags) -> Any:
    """Return what an instance holds, which may be older than its row: a function may look at it."""
    label = instance._meta.label
    if instance.pk is None or instance._state.adding:
        raise UnknownShapeError(f"an instance of {label} that was not saved")
    alias = instance._state.db or router.db_for_read(type(instance), instance=instance)
    scope = tag_scope(connections[alias])
    named = ["instance", label, scope, _named(instance.pk, tags)]
    if id(instance) in tags.above:
        return named
    tags += _tags_of_row(instance, scope)
    tags.above.add(id(instance))
    held = {
        **instance._state.fields_cache,
        **{name: list(rows) for name, rows in vars(instance).get(PREFETCHED, {}).items()},
        **{name: value for name, value in vars(instance).items() if name not in {"_state", PREFETCHED}},
    }
    for name, value in sorted(held.items()):
        try:
            named.append([name, _named(value.name if isinstance(value, FieldFile) else value, tags)])
        except UnknownShapeError:
            if not name.startswith("_"):  # what is private to the model's own code is no part of its row
                raise
    tags.above.discard(id(instance))
    return named


def _tags_of_row(instance: Model, scope: str) -> list[str]:
    """Return the tags of a row whose writes are watched, so that answers about it do not outlive them."""
    model = instance._meta.concrete_model or type(instance)
    if not {table_name(owner) for owner in owners(model)} <= tracked_tables().keys():
        return []
    tracked = track(model) if model in cached_models() else "it has no CachedManager"
    key = None if isinstance(tracked, str) else tracked.to_pk(instance.pk)
    if isinstance(tracked, str) or key is None:
        return [any_write_tag(scope, table_name(owner)) for owner in owners(model)]
    return [row_tag(scope, tracked.table, key), table_tag(scope, tracked.table)]


def _named_queryset(queryset: QuerySet[Any], tags: Tags) -> Any:
    try:
        prepared = prepared_read(queryset.query, queryset.db)
        place = prepared.place(connections[queryset.db], 0)
    except EmptyResultSet:
        return ["queryset", queryset.model._meta.label, "empty"]
    except Bypass as bypass:
        raise UnknownShapeError(f"a queryset of {queryset.model._meta.label} ({bypass})") from bypass
    if queryset._result_cache is not None:  # noqa: SLF001  # no public name
        raise UnknownShapeError("a queryset that was evaluated before (pass `queryset.all()`)")
    tags += place.tags
    prefetched = queryset._prefetch_related_lookups  # type: ignore[attr-defined]  # noqa: SLF001  # no public name
    lookups = [_named_lookup(lookup, tags) for lookup in prefetched]
    shape = [_dotted(type(queryset)), _dotted(queryset._iterable_class), repr(vars(queryset)["_fields"])]  # noqa: SLF001  # likewise
    return ["queryset", queryset.model._meta.label, place.key, shape, lookups]


def _named_lookup(lookup: Any, tags: Tags) -> Any:
    if isinstance(lookup, str):
        return lookup
    rows = None if lookup.queryset is None else _named(lookup.queryset, tags)
    return [lookup.prefetch_through, lookup.to_attr, rows]


def _named_function(function: FunctionType, tags: Tags) -> Any:
    if "<" in function.__qualname__:
        raise UnknownShapeError(FunctionType)
    return ["function", f"{function.__module__}.{function.__qualname__}"]


_BY_KIND: Final[dict[type, Callable[[Any, Tags], Any]]] = {
    list: _named_items,
    tuple: _named_items,
    set: _named_set,
    frozenset: _named_set,
    dict: _named_dict,
    SafeString: lambda value, _: ["safe", str.__str__(value)],
}
_BY_BASE: Final[dict[type, Callable[[Any, Tags], Any]]] = {
    enum.Enum: lambda value, _: ["enum", _dotted(type(value)), value.name, repr(value.value)],
    Model: _named_instance,
    QuerySet: _named_queryset,
    type: lambda value, _: ["class", _dotted(value)],
    FunctionType: _named_function,
    tuple: _named_tuple,
}


def _packed(parts: Any) -> bytes:
    try:
        return _encode(parts)
    except (OverflowError, UnicodeEncodeError):  # beyond 64 bits; half a character
        return repr(parts).encode("utf-8", "surrogatepass")


def _dotted(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
