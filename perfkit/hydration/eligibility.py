"""Whether instances may be made without the constructor: only where it would run nothing but Django's code."""

# Note [What may be passed over]
# Django makes an instance by `from_db`, which calls the class, whose `__init__` sends `pre_init`, sets each
# column with `setattr` and sends `post_init`. For a model that changes none of these, all that is left
# is one entry in `__dict__` for each column. Two questions decide it, apart because they cost apart:
#   - are the class attributes of the columns Django's own? They are made with the class, and asked about
#     once, when a builder is made (`has_plain_columns`);
#   - does the class still use Django's hooks, and does nobody listen? A receiver may be connected and
#     a class patched at any time, so this is asked at each use (`is_untouched`).

from __future__ import annotations

from collections.abc import Sequence
from inspect import getattr_static
from keyword import iskeyword
from operator import attrgetter
from typing import Any, Final

from django.db.models import Model
from django.db.models import base as django_base
from django.db.models.fields.files import FileDescriptor, ImageFileDescriptor
from django.db.models.fields.mixins import FieldCacheMixin
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.signals import post_init, pre_init

PLAIN_SETTERS: Final = frozenset({FileDescriptor, ImageFileDescriptor})
"""Descriptors whose `__set__`, on a new instance, does no more than write to `__dict__`."""

_hooks = attrgetter("__init__", "__new__", "__setattr__", "from_db.__func__", "__class__.__call__")


def _djangos_hooks() -> tuple[Any, ...] | None:
    """Return the hooks as Django wrote them; None where somebody replaced one before this module was loaded."""
    hooks: tuple[Any, ...] = _hooks(Model)
    init, new, set_attribute, from_db, call = hooks
    is_djangos_own = all(
        getattr(function, "__globals__", None) is vars(django_base)
        and function.__code__.co_qualname == f"Model.{name}"
        for function, name in ((init, "__init__"), (from_db, "from_db"))
    )
    is_pythons_own = new is object.__new__ and set_attribute is object.__setattr__ and call is type.__call__
    return hooks if is_djangos_own and is_pythons_own else None


DJANGOS_HOOKS: Final = _djangos_hooks()


def is_untouched(model: type[Model]) -> bool:
    """Return whether making an instance of `model` would, as of now, run Django's own code alone.

    See Note [What may be passed over].
    """
    try:
        hooks = _hooks(model)
    except AttributeError:  # a `from_db` that is no class method
        return False
    return (
        hooks == DJANGOS_HOOKS
        # A mixin that stands after Model: Django's `__init__` calls it.
        and super(Model, model).__init__ is object.__init__
        # Most projects have no receiver at all, and the list says so ten times faster.
        and not (pre_init.receivers and pre_init.has_listeners(model))
        and not (post_init.receivers and post_init.has_listeners(model))
    )


def has_plain_columns(model: type[Model], attnames: Sequence[str]) -> bool:
    """Return whether setting each of `attnames` on a new instance does no more than write to `__dict__`.

    False too where they do not stand in the order of the model's concrete fields: `from_db` goes by that.
    """
    in_order = [field.attname for field in model._meta.concrete_fields if field.attname in attnames]
    return list(attnames) == in_order and all(
        name.isidentifier() and not iskeyword(name) and _is_plain(getattr_static(model, name, None))
        for name in (*attnames, "_state")
    )


def has_setter(model: type[Model], attname: str) -> bool:
    """Return whether setting `attname` on an instance runs code of the class."""
    return hasattr(type(getattr_static(model, attname, None)), "__set__")


def _is_plain(attribute: Any) -> bool:
    if not hasattr(type(attribute), "__set__"):
        return True
    # Autoload puts subclasses in the place of Django's, which set as these do.
    if type(attribute).__set__ is ForeignKeyDeferredAttribute.__set__:
        return type(attribute.field).is_cached is FieldCacheMixin.is_cached
    return type(attribute) in PLAIN_SETTERS
