"""The tables whose writes are watched, and the models whose rows are cached by their keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from django.apps import apps
from django.core.signals import setting_changed
from django.db.models import Field, Model, UniqueConstraint

from perfkit.caching.keys import ToPrimaryKey, is_plain, is_plain_value, reader_of, unsure
from perfkit.caching.locks import fork_safe_rlock
from perfkit.conf import options


@dataclass(frozen=True, slots=True)
class DeclaredColumn:
    """A column that a manager's `by` names: lists by one of its values depend on the rows with that value.

    Args:
        name: As the database has it.
        to_key: Turns a value that is not NULL into what names it in tags, None where unsure.
    """

    name: str
    to_key: ToPrimaryKey


@dataclass(frozen=True, slots=True)
class TrackedTable:
    """A table whose writes are watched, for cached reads look into it.

    Args:
        name: Without quotes, lower case: what a statement that writes it must contain.
        pk_column: The column of its primary key.
        to_pk: Turns a value as a statement gives it into the primary key, None where unsure.
        declared: Its declared columns.
        changes: Other tables whose rows change with any write to it; see `sources`.
        cascades: Those whose rows change when rows of it are deleted.
        is_read: False where no cached read looks into it, and only what it changes matters.
    """

    name: str
    pk_column: str
    to_pk: ToPrimaryKey
    declared: tuple[DeclaredColumn, ...] = ()
    changes: frozenset[str] = frozenset()
    cascades: frozenset[str] = frozenset()
    is_read: bool = True


class UniqueColumn(NamedTuple):
    """A column of which no two rows have the same value.

    Args:
        name: The attribute of its field.
        place: Where it stands in a row of the model's concrete fields.
        to_key: Turns a value as a caller or the driver gives it into what is compared, None where unsure.
    """

    name: str
    place: int
    to_key: ToPrimaryKey


@dataclass(frozen=True, slots=True)
class TrackedModel:
    """A model whose rows are cached by primary key.

    Args:
        table: Its table's name, as `TrackedTable` has it.
        pk_name: The attribute of its primary key.
        pk_index: Where the primary key stands in a row of its concrete fields.
        to_pk: Turns a value as a caller gives it into the primary key, None where unsure.
        unique: Other columns that name one row each, by the names that a caller may use.
    """

    model: type[Model]
    table: str
    pk_name: str
    pk_index: int
    to_pk: ToPrimaryKey
    unique: Mapping[str, UniqueColumn]


_tracked: Final[dict[type[Model], TrackedModel | str]] = {}
_declared: Final[set[type[Model]]] = set()
_by: Final[dict[type[Model], set[str]]] = {}
"""The names of fields that managers of a model declare."""
_undecided: Final[list[type[Model]]] = []
_by_name: Mapping[str, TrackedTable] = {}
"""Replaced, never changed: other threads go through it meanwhile."""
_listed: set[type[Model]] | None = None
"""The models of `CACHE_MODELS`, None until the setting has been read."""
_lock: Final = fork_safe_rlock()


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
    return TrackedModel(
        model, table_name(model), pk.attname, names.index(pk.attname), reader_of(pk), _unique_columns(model)
    )


def _unique_columns(model: type[Model]) -> dict[str, UniqueColumn]:
    """Return the columns that the database keeps unique in every transaction, by the names of their fields."""
    meta = model._meta
    alone = {
        constraint.fields[0]
        for constraint in meta.constraints
        if type(constraint) is UniqueConstraint
        and len(constraint.fields) == 1
        and not (constraint.condition or constraint.expressions or constraint.deferrable)
    }
    columns = {}
    for place, field in enumerate(meta.concrete_fields):
        is_unique = (field.unique or field.name in alone) and not field.primary_key and meta.managed
        if is_unique and is_plain_value(field):
            column = UniqueColumn(field.attname, place, reader_of(field))
            columns[field.name] = columns[field.attname] = column
    return columns


def _watch(model: type[Model]) -> None:
    """Have statements that name a table of the model taken for writes."""
    global _by_name  # noqa: PLW0603  # replaced as a whole, see there
    with _lock:
        tables = dict(_by_name)
        for owner in owners(model):
            pk = owner._meta.pk
            table = TrackedTable(
                table_name(owner),
                str(pk.column or ""),
                reader_of(pk) if is_plain(pk) else unsure,
                _declared_columns(owner),
            )
            other = tables.get(table.name)
            tables[table.name] = table if other is None else _shared(table, other)
        _by_name = tables


def _shared(table: TrackedTable, other: TrackedTable) -> TrackedTable:
    """Return what is known of a table that two models have."""
    if (other.pk_column, other.to_pk) != (table.pk_column, table.to_pk):
        table = replace(table, to_pk=unsure)  # their keys name the rows of one table differently
    columns = {column.name: column for column in other.declared}
    for column in table.declared:
        is_same = columns.setdefault(column.name, column) == column
        if not is_same:
            columns[column.name] = replace(column, to_key=unsure)
    return replace(table, declared=tuple(columns.values()))


def _declared_columns(owner: type[Model]) -> tuple[DeclaredColumn, ...]:
    names = {name for model, names in _by.items() if issubclass(owner, model) for name in names}
    columns = {}
    for name in sorted(names):
        field = declarable(owner, name)
        if field is not None and field.model is owner:
            columns[field.attname] = DeclaredColumn(str(field.column), reader_of(field))
    return tuple(columns.values())


def declarable(model: type[Model], name: str) -> Field[Any, Any] | None:
    """Return the field of that name, if its values can name rows in tags."""
    fields = model._meta.concrete_fields
    field = next((each for each in fields if name in {each.name, each.attname}), None)
    return field if field is not None and is_plain_value(field) else None


def owners(model: type[Model]) -> Iterator[type[Model]]:
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


def declare(model: type[Model], by: Iterable[str]) -> None:
    """Have `model` tracked as soon as all models are loaded and its relations are known.

    So are those that inherit from it: they have its manager, and nothing else tells of them.

    Args:
        by: Names of the fields by whose values lists are divided.
    """
    _declared.add(model)
    _by.setdefault(model, set()).update(by)
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


def watched_models() -> set[type[Model]]:
    """Return the models whose tables `tracked_tables` has."""
    return {*_tracked, *(_listed or ())}


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
        listed = {model for label in labels for model in listed_models(label)}
        for model in listed:
            _watch(model)
        _listed = listed


def listed_models(label: str) -> list[type[Model]]:
    """Return the models that a label of `CACHE_MODELS` names: one, or all of an app; none where it is wrong."""
    try:
        if label.endswith(".*"):
            models = apps.get_app_config(label.removesuffix(".*")).get_models()
            return [model for model in models if not model._meta.proxy]
        return [apps.get_model(label)]
    except (LookupError, ValueError):
        return []


def why_not(model: type[Model]) -> str:
    """Return why rows of `model` cannot be cached by primary key, or an empty string."""
    meta = model._meta
    if meta.proxy or meta.parents:
        return "it inherits its table from another model"
    if not meta.managed and meta.db_table == "":
        return "it has no table"
    if not is_plain(meta.pk):
        return "its primary key is not a plain integer, text or UUID column without a collation"
    return ""


def _settings_changed(*, setting: str, **_: object) -> None:
    global _by_name, _listed  # see there
    if setting == "PERFKIT":
        with _lock:
            _by_name, _listed = {}, None
            for model in _tracked:
                _watch(model)


setting_changed.connect(_settings_changed, dispatch_uid="perfkit.caching.registry")
