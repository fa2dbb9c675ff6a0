"""Which tables an answer depends on: those that its query names, and those that delete from them by cascades."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.apps import apps
from django.core.exceptions import EmptyResultSet
from django.db.models import Model, QuerySet

from perfkit.watching.cascades import database_on_delete


@cache
def tables_of(model: type[Model], alias: str) -> tuple[str, ...]:
    """Return what the rows of a model's default manager depend on."""
    return tables_behind(model._default_manager.using(alias))


def tables_behind(queryset: QuerySet[Any]) -> tuple[str, ...]:
    """Return the tables that a queryset looks into, in subqueries too, and those that change them in the database.

    It compiles the query; keep what it returns.
    """
    parents = [queryset.model, *queryset.model._meta.get_parent_list()]
    models = {**_by_table(), **{parent._meta.db_table: parent for parent in parents}}
    names = {parent._meta.db_table for parent in parents}
    try:
        text = str(queryset.query.get_compiler(using=queryset.db).as_sql()[0])
    except EmptyResultSet:
        text = ""
    names |= {name for name in models if name in text}
    ahead = list(names)
    while ahead:
        for name in _deleting(models.get(ahead.pop())) - names:
            names.add(name)
            ahead.append(name)
    return tuple(sorted(names))


@cache
def _by_table() -> dict[str, type[Model]]:
    return {model._meta.db_table: model for model in apps.get_models(include_auto_created=True)}


def _deleting(model: type[Model] | None) -> set[str]:
    """Return the tables whose deleted rows make the database delete or change rows of `model`."""
    if model is None:
        return set()
    return {
        field.related_model._meta.db_table  # type: ignore[union-attr]  # a foreign key's
        for field in model._meta.concrete_fields
        if database_on_delete(field) is not None
    }
