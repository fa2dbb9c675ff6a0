"""Autoload before Django 6.1: what stands for relations and fields on a model looks for peers first.

A descriptor changes its class in place, once its model is read by `autoload`; what it holds stays.
Those of other packages, and of Django itself for files, are left alone.
From Django 6.1 on `modes.py` does the same without.
"""

from __future__ import annotations

from typing import Any, Final

from django.apps import apps
from django.db.models.fields.related_descriptors import (
    ForeignKeyDeferredAttribute,
    ForwardManyToOneDescriptor,
    ForwardOneToOneDescriptor,
    ReverseOneToOneDescriptor,
)
from django.db.models.query_utils import DeferredAttribute

from perfkit.loading.autoloading.peers import ATTRIBUTE
from perfkit.loading.autoloading.to_one import fill


class _Forward:
    """Looks for peers when a row is to be loaded that a column leads to."""

    field: Any

    def get_object(self, instance: Any) -> Any:
        """Return the row that `instance` leads to, which is not cached."""
        if ATTRIBUTE in instance._state.__dict__ and fill(self, instance):
            return self.field.get_cached_value(instance)
        return super().get_object(instance)  # type: ignore[misc]  # a mixin of descriptors


class AutoloadForward(_Forward, ForwardManyToOneDescriptor):  # type: ignore[type-arg]  # not subscriptable at run time
    """A foreign key."""


class AutoloadForwardOneToOne(_Forward, ForwardOneToOneDescriptor):  # type: ignore[type-arg]  # likewise
    """A one-to-one relation, from the side that has the column."""


class AutoloadReverseOneToOne(ReverseOneToOneDescriptor):  # type: ignore[type-arg]  # likewise
    """A one-to-one relation, from the other side."""

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        if instance is not None and ATTRIBUTE in instance._state.__dict__ and not self.is_cached(instance):
            fill(self, instance)
        return super().__get__(instance, cls)


class _Deferred:
    """Looks for peers when a value is to be loaded that was deferred."""

    field: Any

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        if (
            instance is not None
            and self.field.attname not in instance.__dict__
            and ATTRIBUTE in instance._state.__dict__
        ):
            fill(self, instance)
        return super().__get__(instance, cls)  # type: ignore[misc]  # a mixin of descriptors


class AutoloadDeferred(_Deferred, DeferredAttribute):
    """A field that may be deferred."""


class AutoloadDeferredForeignKey(_Deferred, ForeignKeyDeferredAttribute):
    """The column of a foreign key that may be deferred."""


SUCCESSORS: Final[dict[type, type]] = {
    ForwardManyToOneDescriptor: AutoloadForward,
    ForwardOneToOneDescriptor: AutoloadForwardOneToOne,
    ReverseOneToOneDescriptor: AutoloadReverseOneToOne,
}
DEFERRED_SUCCESSORS: Final[dict[type, type]] = {
    DeferredAttribute: AutoloadDeferred,
    ForeignKeyDeferredAttribute: AutoloadDeferredForeignKey,
}


def generic_successors() -> dict[type, type]:
    """Return what takes the place of generic foreign keys; empty where content types are not installed."""
    if not apps.is_installed("django.contrib.contenttypes"):
        return {}
    from django.contrib.contenttypes.fields import GenericForeignKey

    from perfkit.loading.autoloading.generic import AutoloadGenericForeignKey

    return {GenericForeignKey: AutoloadGenericForeignKey}
