"""Which model a table is of, whose code that is, and what declares its indexes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from django.apps import apps
from django.db import connections, router
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Field, Model

from perfkit.indexing.advisor.standing import Reference
from perfkit.indexing.blocking import PACKAGES
from perfkit.indexing.foreign_keys import parts_of


class Declared(Enum):
    """What declares an index."""

    META = "Meta.indexes"
    CONSTRAINT = "Meta.constraints"
    FIELD = "a field"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Owner:
    """The model of a table.

    Attributes:
        model: No proxy; of a table between two others, the one that Django makes.
        is_own: Whether it is the project's, rather than a package's.
        fields: By the name of an index, the field that makes it.
    """

    model: type[Model]
    is_own: bool
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Such as `flights.Flight`."""
        return self.model._meta.label

    @property
    def is_managed(self) -> bool:
        """Whether migrations make its table, and whether there is a class to write indexes into."""
        return bool(self.model._meta.managed and not self.model._meta.auto_created)

    @property
    def names(self) -> set[str]:
        """Of the indexes that the model declares."""
        options = self.model._meta
        return {each.name for each in (*options.indexes, *options.constraints)} | set(self.fields)

    def declares(self, name: str) -> Declared:
        """Return what declares an index of the table."""
        if name in {index.name for index in self.model._meta.indexes}:
            return Declared.META
        if name in {constraint.name for constraint in self.model._meta.constraints}:
            return Declared.CONSTRAINT
        return Declared.FIELD if name in self.fields else Declared.NOTHING


def owners_of(using: str) -> dict[str, Owner]:
    """Return the owner of each table of a database that a model has.

    Managed and unmanaged models count, those of tables between two others too; of several models with one table,
    one that is managed comes first.
    """
    found: dict[str, Owner] = {}
    # It only puts statements together; entered, SQLite's would refuse to be within a transaction.
    editor = connections[using].schema_editor(collect_sql=True, atomic=False)
    for model in apps.get_models(include_auto_created=True):
        options = model._meta
        if options.proxy or options.swapped or not router.allow_migrate_model(using, model):
            continue
        there = found.get(options.db_table)
        if there is None or (options.managed and not there.model._meta.managed):
            found[options.db_table] = Owner(model, _is_own(model), _fields(editor, model))
    return found


def references_of(owners: dict[str, Owner]) -> Iterator[Reference]:
    """Yield how the models refer to each other, with or without a constraint in the database."""
    for table, owner in owners.items():
        for column in owner.model._meta.local_concrete_fields:
            remote: Any = column.remote_field
            target = getattr(remote, "model", None)
            if target is not None and not isinstance(target, str):
                yield Reference(table, (str(column.column),), target._meta.concrete_model._meta.db_table)


def field_of(model: type[Model], column: str) -> Field[Any, Any] | None:
    """Return the field that a column of the model's own table is of."""
    return next((each for each in model._meta.local_concrete_fields if each.column == column), None)


def _fields(editor: BaseDatabaseSchemaEditor, model: type[Model]) -> dict[str, str]:
    names: dict[str, str] = {}
    for column in model._meta.local_concrete_fields:
        parts = parts_of(editor, model, column)
        names |= dict.fromkeys(parts.indexes, column.name)
        if parts.unique:
            names[parts.unique.name] = column.name
    return names


def _is_own(model: type[Model]) -> bool:
    config = apps.get_app_config(model._meta.app_label)
    is_packaged = any(package in config.path for package in PACKAGES)
    return not (is_packaged or config.name == "perfkit" or config.name.startswith("django.contrib."))
