"""The tables whose writes are watched, and the models whose rows are cached by their keys."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from django.apps import apps
from django.core.signals import setting_changed
from django.db.models import CharField, Field, Model, UUIDField
from django.db.models.fields import IntegerField

from perfkit.caching.locks import fork_safe_rlock
from perfkit.caching.tags import PrimaryKey
from perfkit.conf import options

ToPrimaryKey = Callable[[object], PrimaryKey | None]


@dataclass(frozen=True, slots=True)
class TrackedTable:
    """A table whose writes are watched, for cached reads look into it.

    Args:
        name: Without quotes, lower case: what a statement that writes it must contain.
        pk_column: The column of its primary key.
        to_pk: Turns a value as a statement gives it into the primary key, None where unsure.
    """

    name: str
    pk_column: str
    to_pk: ToPrimaryKey


@dataclass(frozen=True, slots=True)
class TrackedModel:
    """A model whose rows are cached by primary key.

    Args:
        table: Its table's name, as `TrackedTable` has it.
        pk_name: The attribute of its primary key.
        pk_index: Where the primary key stands in a row of its concrete fields.
        to_pk: Turns a value as a caller gives it into the primary key, None where unsure.
    """

    model: type[Model]
    table: str
    pk_name: str
    pk_index: int
    to_pk: ToPrimaryKey


_tracked: Final[dict[type[Model], TrackedModel | str]] = {}
_declared: Final[set[type[Model]]] = set()
_undecided: Final[list[type[Model]]] = []
_by_name: Mapping[str, TrackedTable] = {}
"""Replaced, never changed: other threads go through it meanwhile."""
_listed: set[type[Model]] | None = None
"""The models of `CACHE_MODELS`, None until the setting has been read."""
_lock: Final = fork_safe_rlock()
LARGEST_KEY: Final = 2**63
LONGEST_NUMBER: Final = 20
"""Digits of a number that a key's column can hold."""


def track(model: type[Model]) -> TrackedModel | str:
    """Return how rows of `model` are cached by their keys, or the reason why they cannot be; decided once."""
    known = _tracked.get(model)
    if known is None:
        known = _tracked[model] = why_not(model) or _tracked_model(model)
        _watch(model)
    return known


def _tracked_model(model: type[Model]) -> TrackedModel:
    pk = model._meta.pk
    names = [field.attname for field in model._meta.concrete_fields]
    return TrackedModel(model, table_name(model), pk.attname, names.index(pk.attname), _reader_of(pk))


def _watch(model: type[Model]) -> None:
    """Have statements that name a table of the model taken for writes."""
    global _by_name  # noqa: PLW0603  # replaced as a whole, see there
    with _lock:
        tables = dict(_by_name)
        for owner in _owners(model):
            pk = owner._meta.pk
            table = TrackedTable(
                table_name(owner), str(pk.column or ""), _reader_of(pk) if _has_plain_key(pk) else _unsure
            )
            other = tables.get(table.name)
            if other is not None and (other.pk_column, other.to_pk) != (table.pk_column, table.to_pk):
                table = replace(table, to_pk=_unsure)  # their keys name the rows of one table differently
            tables[table.name] = table
        _by_name = tables


def _owners(model: type[Model]) -> Iterator[type[Model]]:
    """Yield the models of all tables that hold rows of `model`: its own, its parents', its relations'."""
    concrete = model._meta.concrete_model or model
    for part in (concrete, *concrete._meta.all_parents):
        yield part
        meta = part._meta
        relations: list[Any] = [each.remote_field for each in meta.many_to_many]
        relations += [each for each in meta.related_objects if each.many_to_many]
        yield from (each.through for each in relations if each.through._meta.auto_created)


def table_name(model: type[Model]) -> str:
    """Return the name of a model's table as a statement must contain it: unquoted, lower case."""
    return plain_table_name(model._meta.db_table)


def plain_table_name(db_table: str) -> str:
    """Return a `db_table` without the quotes around it and without its schema, lower case."""
    return db_table.strip('"').rpartition(".")[2].removeprefix('"').lower()


def declare(model: type[Model]) -> None:
    """Have `model` tracked as soon as all models are loaded and its relations are known.

    So are those that inherit from it: they have its manager, and nothing else tells of them.
    """
    _declared.add(model)
    _undecided.append(model)


def cached_models() -> set[type[Model]]:
    """Return every model that has a `CachedManager`, whether its rows can be cached by key or not."""
    if _undecided and apps.models_ready:
        _decide()
    return set(_declared)


def tracked_tables() -> Mapping[str, TrackedTable]:
    """Return the tracked tables by their names.

    Raises:
        SettingsError: `CACHE_MODELS` is no list of labels.
    """
    if apps.models_ready:
        if _undecided:
            _decide()
        if _listed is None:
            _read_setting()
    return _by_name


def _decide() -> None:
    """Track what was declared; another thread goes on waiting, for less than all would be too little."""
    with _lock:
        declared = tuple(_undecided)
        for model in declared:
            if not model._meta.abstract:
                track(model)
        for model in apps.get_models(include_auto_created=True):
            if issubclass(model, declared):  # it has inherited the manager
                _declared.add(model)
                track(model)
        _declared.difference_update([model for model in declared if model._meta.abstract])
        del _undecided[: len(declared)]


def _read_setting() -> None:
    """Watch the tables of the models that `CACHE_MODELS` names."""
    global _listed  # noqa: PLW0603  # read once, and again after a change of settings
    labels = options.CACHE_MODELS
    with _lock:
        listed = {model for model in map(listed_model, labels) if model is not None}
        for model in listed:
            _watch(model)
        _listed = listed


def listed_model(label: str) -> type[Model] | None:
    """Return the model that a label of `CACHE_MODELS` names, None where there is none (a check says so)."""
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        return None


def why_not(model: type[Model]) -> str:
    """Return why rows of `model` cannot be cached by primary key, or an empty string."""
    meta = model._meta
    if meta.proxy or meta.parents:
        return "it inherits its table from another model"
    if not meta.managed and meta.db_table == "":
        return "it has no table"
    if not _has_plain_key(meta.pk):
        return "its primary key is not a plain integer, text or UUID column without a collation"
    return ""


def _has_plain_key(pk: Field[Any, Any]) -> bool:
    is_djangos = type(pk).__module__.startswith("django.db.models.fields")
    is_plain = is_djangos and not pk.is_relation and isinstance(pk, IntegerField | CharField | UUIDField)
    return is_plain and not getattr(pk, "db_collation", None)  # under one, different texts may be equal


def _reader_of(pk: Field[Any, Any]) -> Callable[[object], PrimaryKey | None]:
    if isinstance(pk, IntegerField):
        return _as_int
    return _as_uuid if isinstance(pk, UUIDField) else _as_text


def _as_int(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value) if abs(value) < LARGEST_KEY else None
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


def _settings_changed(*, setting: str, **_: object) -> None:
    global _by_name, _listed  # see there
    if setting == "PERFKIT":
        with _lock:
            _by_name, _listed = {}, None
            for model in _tracked:
                _watch(model)


setting_changed.connect(_settings_changed, dispatch_uid="perfkit.caching.registry")
