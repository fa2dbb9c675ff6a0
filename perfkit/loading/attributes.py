"""What the attributes of a model's rows are, and what reading one takes."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property, partialmethod
from typing import Final

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Field, Model
from django.db.models.signals import post_init
from django.utils.functional import cached_property as django_cached_property

from perfkit.loading.declared_needs import Needs, needs_of
from perfkit.loading.relations import relations_of

ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Attribute:
    """What reading an attribute of a row takes.

    Args:
        columns: Names of fields.
        is_relation: It holds related rows.
        is_computed: A function of the model makes it.
        needs: What that function declares; None where it declares nothing.
    """

    columns: tuple[str, ...] = ()
    is_relation: bool = False
    is_computed: bool = False
    needs: Needs | None = None


def attribute_of(model: type[Model], name: str) -> Attribute | None:
    """Return what reading an attribute takes, None where rows of the model have none of that name."""
    if name == "pk":
        return Attribute(tuple(field.name for field in model._meta.pk_fields))
    if name in relations_of(model):
        return Attribute(is_relation=True)
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return _of_class(model, name)
    if not isinstance(field, Field):
        return _of_class(model, name)  # a reverse relation by its query name is no attribute
    if field.concrete and field.column is not None:
        return Attribute((field.name,))
    return Attribute(tuple(each.name for each in model._meta.pk_fields))  # a composite primary key


def _of_class(model: type[Model], name: str) -> Attribute | None:
    found = inspect.getattr_static(model, name, ABSENT)
    if found is ABSENT or name.startswith("__"):
        return None
    if isinstance(found, partialmethod) and found.func.__name__ == "_get_FIELD_display":
        return Attribute((found.keywords["field"].name,))
    is_function = isinstance(found, property | cached_property | django_cached_property | partialmethod)
    if is_function or callable(found) or hasattr(found, "__get__"):
        return Attribute(is_computed=True, needs=needs_of(found))
    return Attribute()  # a plain value of the class


def attributes_of(model: type[Model]) -> list[str]:
    """Return the names that rows of a model have for what is stored, related or computed by their class."""
    concrete = [name for field in model._meta.concrete_fields for name in (field.name, field.attname)]
    own = [
        name
        for kind in model.__mro__
        if issubclass(kind, Model) and kind is not Model
        for name, value in vars(kind).items()
        if not name.startswith("_") and isinstance(value, property | cached_property | django_cached_property)
    ]
    return sorted({*concrete, *relations_of(model), *own, "pk"})


def reads_all(model: type[Model]) -> str:
    """Return what reads columns of each row when it is made, so that none may be left out; empty for nothing."""
    for name in ("__init__", "from_db"):
        if inspect.getattr_static(model, name) is not inspect.getattr_static(Model, name):
            return f"{model._meta.label} has its own {name}, which may read any"
    if post_init.has_listeners(model):
        return f"a receiver of post_init for {model._meta.label} may read any"
    return ""
