"""The models whose rows are cached, and why a model's rows cannot be."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
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
_by_table: Final[dict[str, TrackedModel]] = {}


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
    _by_table[table] = tracked
    return tracked


def table_name(model: type[Model]) -> str:
    """Return the name of a model's table as a statement must contain it: unquoted, lower case."""
    return model._meta.db_table.replace('"', "").rpartition(".")[2].lower()


def declare(model: type[Model]) -> None:
    """Have `model` tracked as soon as all models are loaded and its relations are known."""
    _declared.add(model)
    _undecided.append(model)


def cached_models() -> set[type[Model]]:
    """Return every model that has a `CachedManager`, whether its rows can be cached or not."""
    return set(_declared)


def tracked_tables() -> dict[str, TrackedModel]:
    """Return the tracked models by their tables' names."""
    if _undecided and apps.models_ready:
        while _undecided:
            track(_undecided.pop())
    return _by_table


def why_not(model: type[Model]) -> str:
    """Return why rows of `model` cannot be cached by primary key, or an empty string."""
    meta = model._meta
    pk = meta.pk
    if meta.proxy or meta.parents:
        return "it inherits its table from another model"
    if not meta.managed and meta.db_table == "":
        return "it has no table"
    if not _has_plain_key(pk):
        return "its primary key is not a plain integer, text or UUID column"
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
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return None


def _as_text(value: object) -> str | None:
    return str(value) if isinstance(value, str) else None


def _as_uuid(value: object) -> uuid.UUID | None:
    if isinstance(value, uuid.UUID):
        return value
    if isinstance(value, str):
        try:
            return uuid.UUID(value)
        except ValueError:
            return None
    return None
