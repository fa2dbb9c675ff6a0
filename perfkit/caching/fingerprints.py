"""Names of classes and fields that are the same in every process, and change when the field does."""

from __future__ import annotations

import functools
import hashlib
from typing import Any, Final

from django.db.models import Field, ForeignObjectRel, JSONField

from perfkit.caching.plain_values import UnknownShapeError

DJANGOS: Final = ("django.db.models.", "django.contrib.postgres.")
"""Where the expressions stand whose SQL is known."""
_MATTERS: Final = (
    "primary_key",
    "null",
    "max_length",
    "max_digits",
    "decimal_places",
    "db_collation",
    "unpack_ipv4",
    "protocol",
)
"""What of a field Django's SQL and preparation of values depend on, besides its class and column."""
AnyField = Field | ForeignObjectRel  # type: ignore[type-arg]  # whatever it holds
_tokens: Final[dict[int, tuple[AnyField, str]]] = {}
"""By identity, for a field's own hash is slow. Fields of models live as long as the process."""


def dotted(cls: type) -> str:
    """Return the full name of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def digest(described: object) -> str:
    """Return a short name for something made of tuples, texts, numbers and None."""
    return hashlib.blake2b(repr(described).encode(), digest_size=16).hexdigest()


def field_token(field: AnyField) -> str:
    """Return the name of a field: a model's by what it is, a loose one by its class and parameters.

    Raises:
        UnknownShapeError: It belongs to no model and is not one of Django's simple ones.
    """
    known = _tokens.get(id(field))
    if known is not None and known[0] is field:
        return known[1]
    if getattr(field, "model", None) is None:
        return _loose_token(field)
    token = _described(field)
    _tokens[id(field)] = (field, token)
    return token


def _loose_token(field: AnyField) -> str:
    cls = type(field)
    if cls.__module__ not in {"django.db.models.fields", "django.db.models.fields.json"}:
        raise UnknownShapeError(cls)
    return repr((dotted(cls), *_parameters(field)))


def _parameters(field: AnyField) -> tuple[object, ...]:
    coders = (field.encoder, field.decoder) if isinstance(field, JSONField) else ()
    values = [getattr(field, name, None) for name in _MATTERS]
    if not all(value is None or type(value) in {bool, int, str} for value in values):
        raise UnknownShapeError(type(field))
    return (*values, *[None if coder is None else dotted(coder) for coder in coders])


def _described(field: AnyField) -> str:
    if isinstance(field, ForeignObjectRel):
        return f"reverse {dotted(type(field))} {field_token(field.field)}"
    meta = field.model._meta
    inner = [getattr(field, name, None) for name in ("base_field", "output_field")]
    described = (
        meta.db_table,
        field.attname,
        field.column,
        dotted(type(field)),
        field.get_internal_type(),
        *_parameters(field),
        *[dotted(type(part)) for part in inner if isinstance(part, Field)],
        *[(target.model._meta.db_table, target.column, dotted(type(target))) for target in _targets(field)],
    )
    return f"{meta.label}.{field.name}#{digest(described)[:16]}"


def _targets(field: Field[Any, Any]) -> tuple[Field[Any, Any], ...]:
    """Return the columns that a relation leads to; a many-to-many relation leads there by way of others."""
    if not field.is_relation or field.many_to_many:
        return ()
    return tuple(getattr(field, "foreign_related_fields", ()))


def has_djangos_join(relation: AnyField) -> bool:
    """Return whether joins along `relation` are made by Django alone.

    Some packages add conditions of their own, such as the current tenant's.
    """
    declared: Any = getattr(relation, "field", relation)
    classes: list[Any] = [type(relation), type(declared)]
    return all(map(_has_djangos_join, classes))


@functools.lru_cache(maxsize=1024)
def _has_djangos_join(cls: type) -> bool:
    return all(
        getattr(getattr(cls, name, None), "__module__", "").startswith("django.")
        for name in ("get_extra_restriction", "get_joining_fields")
    )
