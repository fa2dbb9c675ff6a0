"""What a related manager knows already: `author.books.all()` need not look for the author of a book."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

from django.db.models import Model, QuerySet

from perfkit.hydration.instances import FETCH_MODE


def set_known_related(objects: Iterable[Model], queryset: QuerySet[Any]) -> None:
    """Give `objects` the relations that `queryset` knows from its manager, as Django's own iterable does.

    A relation that is loaded already stays as it is, and so does one whose key the queryset does not know.
    """
    set_known = known_setter(queryset)
    if set_known is not None:
        for instance in objects:
            set_known(instance)


def known_setter(queryset: QuerySet[Any]) -> Callable[[Model], None] | None:
    """Return what gives an instance the relations that `queryset` knows; None where it knows none."""
    known = []
    for field, related in queryset._known_related_objects.items():  # type: ignore[attr-defined]  # noqa: SLF001
        attnames = _key_attnames(field, queryset.model)
        known.append((field, related, attnames, attrgetter(*attnames)))

    def set_known(instance: Model) -> None:
        for field, related, attnames, key_of in known:
            if field.is_cached(instance):
                continue
            # Django up to 6.0 loads a deferred key; later ones, those with fetch modes, leave it.
            if FETCH_MODE is not None and any(name not in instance.__dict__ for name in attnames):
                continue
            key = key_of(instance)
            if key in related:
                setattr(instance, field.name, related[key])

    return set_known if known else None


def _key_attnames(field: Any, model: type[Model]) -> list[str]:
    return [
        field.attname if name == "self" else model._meta.get_field(name).attname  # type: ignore[union-attr]
        for name in field.from_fields
    ]
