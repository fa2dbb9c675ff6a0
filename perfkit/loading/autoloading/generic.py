"""Autoload of generic foreign keys before Django 6.1; to be imported where content types are installed."""

from __future__ import annotations

from typing import Any

from django.contrib.contenttypes.fields import GenericForeignKey

from perfkit.loading.autoloading.peers import ATTRIBUTE
from perfkit.loading.autoloading.to_one import fill


class AutoloadGenericForeignKey(GenericForeignKey):
    """A generic foreign key."""

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        if instance is not None and ATTRIBUTE in instance._state.__dict__ and not self.is_cached(instance):
            fill(self, instance)
        return super().__get__(instance, cls)
