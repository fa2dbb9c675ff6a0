"""Relations by content type, which exist only where `django.contrib.contenttypes` is installed."""

from __future__ import annotations

from types import CodeType
from typing import Any

from django.apps import apps
from django.db.models import Model


def is_generic_descriptor(cls: type) -> bool:
    """Say whether `cls` is what stands for a generic foreign key on a model."""
    return any(
        base.__module__ == "django.contrib.contenttypes.fields"
        and base.__name__ in {"GenericForeignKey", "GenericForeignKeyDescriptor"}
        for base in cls.__mro__
    )


def generic_reader() -> CodeType | None:
    """Return the code that reads a generic foreign key; None where there is none."""
    if not apps.is_installed("django.contrib.contenttypes"):
        return None
    from django.contrib.contenttypes import fields

    descriptor: Any = getattr(fields, "GenericForeignKeyDescriptor", fields.GenericForeignKey)
    code: CodeType = descriptor.__get__.__code__
    return code


def generic_relation_of(queryset: Any) -> tuple[type[Model], str] | None:
    """Return the model and the attribute of the `GenericRelation` whose rows a queryset asks for.

    None where it is none, and where its content type was not looked up before: it costs no query.
    """
    if not apps.is_installed("django.contrib.contenttypes"):
        return None
    from django.contrib.contenttypes.fields import GenericForeignKey
    from django.contrib.contenttypes.models import ContentType

    for key in queryset.model._meta.private_fields:
        if not isinstance(key, GenericForeignKey):
            continue
        values = {
            lookup.lhs.target.name: lookup.rhs
            for lookup in _lookups(queryset.query.where)
            if hasattr(getattr(lookup, "lhs", None), "target")
        }
        if key.ct_field not in values or key.fk_field not in values:
            continue
        known: Any = ContentType.objects
        cached = known._cache.get(queryset.db, {})  # noqa: SLF001  # what it has looked up
        content_type = cached.get(values[key.ct_field])
        model: Any = content_type.model_class() if content_type is not None else None
        for relation in model._meta.private_fields if model is not None else ():
            if getattr(relation, "object_id_field_name", None) == key.fk_field and (
                relation.related_model is queryset.model
            ):
                return model, relation.name
    return None


def _lookups(node: Any) -> list[Any]:
    return [
        each
        for child in node.children
        for each in (_lookups(child) if hasattr(child, "children") else [child])
    ]
