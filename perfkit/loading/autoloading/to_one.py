"""Loads relations to one row, and deferred fields, for all rows that were read together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.db.models import Model, prefetch_related_objects
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor, ReverseOneToOneDescriptor
from django.db.models.query_utils import DeferredAttribute

from perfkit.loading.autoloading.peers import mark, peers_without


def fill(descriptor: Any, instance: Model) -> bool:
    """Load what `descriptor` stands for, for `instance` and the rows it was read with.

    Returns:
        Whether the instance has it now; False where Django has to load it for this one alone.

    Queries:
        None, or one for all rows; of a generic foreign key one for each model that it leads to.
    """
    if isinstance(descriptor, DeferredAttribute):
        return _fill_field(descriptor.field, instance)
    if isinstance(descriptor, ForwardManyToOneDescriptor):
        return _fill_forward(descriptor.field, instance)
    if isinstance(descriptor, ReverseOneToOneDescriptor):
        relation: Any = descriptor.related
        return bool(_fill_relation(relation.get_accessor_name(), relation, instance))
    field: Any = getattr(
        descriptor, "field", descriptor
    )  # a generic foreign key is its own descriptor, or has one
    return bool(_fill_relation(field.name, field, instance))


def _fill_forward(field: Any, instance: Model) -> bool:
    if getattr(field.remote_field, "parent_link", False):
        return False  # Django makes the parent of what the child knows
    rows = _fill_relation(field.name, field, instance)
    if not rows:
        return False
    for row in rows:
        if field.get_cached_value(row, default=None) is None and None not in field.get_local_related_value(
            row
        ):
            field.delete_cached_value(row)  # it leads nowhere, and Django says so when it is asked for
    return bool(field.is_cached(instance))


def _fill_relation(name: str, cache: Any, instance: Model) -> list[Any]:
    """Load a relation to one row; return the rows it was loaded for."""
    rows = peers_without(instance, name, cache.is_cached)
    if rows:
        prefetch_related_objects(rows, name)
        mark_by_model(cache.get_cached_value(row, default=None) for row in rows)
    return rows


def _fill_field(field: Any, instance: Model) -> bool:
    if type(instance).refresh_from_db is not Model.refresh_from_db:
        return False  # a model may load its deferred fields in a way of its own
    name = field.attname
    rows = peers_without(instance, name, lambda row: name in row.__dict__ or row.pk is None)
    if not rows:
        return False
    found = dict(
        type(instance)
        ._base_manager.db_manager(hints={"instance": instance})
        .filter(pk__in=[row.pk for row in rows])
        .values_list("pk", name)
    )
    for row in rows:
        if row.pk in found:
            setattr(row, name, found[row.pk])
    return name in instance.__dict__


def mark_by_model(rows: Iterable[Any]) -> None:
    """Have rows that were loaded together load their relations for each other, those of each model."""
    by_model: defaultdict[type[Model], dict[int, Any]] = defaultdict(dict)
    for row in rows:
        if isinstance(row, Model):
            by_model[type(row)][id(row)] = row
    for same in by_model.values():
        if len(same) > 1:
            mark(list(same.values()))
