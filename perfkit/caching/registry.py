"""The models whose rows are cached, and why a model's rows cannot be."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from django.apps import apps
from django.db.models import CharField, Field, Model, UUIDField
from django.db.models.fields import IntegerField

from perfkit.caching.columns import column_names, unsupported_field
from perfkit.caching.tags import PrimaryKey


@dataclass(frozen=True, slots=True)
class TrackedModel:
    """A model whose rows are cached by primary key.

    Args:
        table: Its table's name without quotes, lower case: what a statement that writes it must contain.
        pk_name: The name of its primary key's field.
        pk_column: The column of its primary key.
        pk_index: Where the primary key stands in a row.
        columns: The attribute names of a row's values.
        to_pk: Turns a value as a caller or a statement gives it into the primary key, None where unsure.
    """

    model: type[Model]
    table: str
    pk_name: str
    pk_column: str
    pk_index: int
    columns: tuple[str, ...]
    to_pk: Callable[[object], PrimaryKey | None]


_tracked: Final[dict[type[Model], TrackedModel | str]] = {}
_declared: Final[set[type[Model]]] = set()
_undecided: Final[list[type[Model]]] = []
_by_table: Mapping[str, TrackedModel] = {}
"""Replaced, never changed: other threads go through it meanwhile."""
_lock: Final = threading.RLock()
LONGEST_NUMBER: Final = 20
"""Digits of a number that a key's column can hold."""


def track(model: type[Model]) -> TrackedModel | str:
    """Return how `model` is tracked, or the reason why it cannot be; decided once."""
    known = _tracked.get(model)
    if known is not None:
        return known
    reason = why_not(model)
    if reason:
        _tracked[model] = reason
        return reason
    pk = model._meta.pk
    table = table_name(model)
    columns = column_names(model)
    tracked = TrackedModel(
        model, table, pk.attname, str(pk.column), columns.index(pk.attname), columns, _reader_of(pk)
    )
    _tracked[model] = tracked
    _enter(tracked)
    return tracked


def _enter(tracked: TrackedModel) -> None:
    """Have statements that name the table taken for writes of the model."""
    global _by_table  # noqa: PLW0603  # replaced as a whole, see there
    with _lock:
        other = _by_table.get(tracked.table)
        if other is not None and (other.pk_column, other.to_pk) != (tracked.pk_column, tracked.to_pk):
            tracked = replace(tracked, to_pk=_unsure)  # their keys name the rows of one table differently
        _by_table = {**_by_table, tracked.table: tracked}


def table_name(model: type[Model]) -> str:
    """Return the name of a model's table as a statement must contain it: unquoted, lower case."""
    return model._meta.db_table.replace('"', "").rpartition(".")[2].lower()


def declare(model: type[Model]) -> None:
    """Have `model` tracked as soon as all models are loaded and its relations are known.

    Of an abstract model, those that inherit from it: they have its manager, and nothing else tells of them.
    """
    _declared.add(model)
    _undecided.append(model)


def cached_models() -> set[type[Model]]:
    """Return every model that has a `CachedManager`, whether its rows can be cached or not."""
    tracked_tables()
    return set(_declared)


def tracked_tables() -> Mapping[str, TrackedModel]:
    """Return the tracked models by their tables' names."""
    if _undecided and apps.models_ready:
        _decide()
    return _by_table


def _decide() -> None:
    """Track what was declared; another thread goes on waiting, for less than all would be too little."""
    with _lock:
        declared = tuple(_undecided)
        for model in declared:
            if not model._meta.abstract:
                track(model)
        abstract = tuple(model for model in declared if model._meta.abstract)
        for model in apps.get_models(include_auto_created=True):
            if issubclass(model, abstract):
                _declared.add(model)
                track(model)
        _declared.difference_update(abstract)
        del _undecided[: len(declared)]


def why_not(model: type[Model]) -> str:
    """Return why rows of `model` cannot be cached by primary key, or an empty string."""
    meta = model._meta
    pk = meta.pk
    if meta.proxy or meta.parents:
        return "it inherits its table from another model"
    if not meta.managed and meta.db_table == "":
        return "it has no table"
    if not _has_plain_key(pk) or ":" in meta.db_table:
        return "its primary key is not a plain integer, text or UUID column, or its table's name has a colon"
    if getattr(pk, "db_collation", None):
        return "its primary key has a collation, under which different texts may be equal"
    field = unsupported_field(model)
    if field is not None:
        return f"its field {field.name} ({type(field).__name__}) cannot be stored yet"
    return ""


def _has_plain_key(pk: Field[Any, Any]) -> bool:
    is_djangos = type(pk).__module__.startswith("django.db.models.fields")
    return is_djangos and not pk.is_relation and isinstance(pk, IntegerField | CharField | UUIDField)


def _reader_of(pk: Field[Any, Any]) -> Callable[[object], PrimaryKey | None]:
    if isinstance(pk, IntegerField):
        return _as_int
    return _as_uuid if isinstance(pk, UUIDField) else _as_text


def _as_int(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and len(value) <= LONGEST_NUMBER and value.isascii() and value.isdigit():
        return int(value)
    return None


def _as_text(value: object) -> str | None:
    return str.__str__(value) if isinstance(value, str) else None  # an enumeration's own str() is its name


def _unsure(value: object) -> None:
    return None


def _as_uuid(value: object) -> uuid.UUID | None:
    if isinstance(value, uuid.UUID):
        return value
    if isinstance(value, str):
        try:
            return uuid.UUID(value)
        except ValueError:
            return None
    return None
