"""Which columns an admin's search compares, and how. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any, Final, NamedTuple

import django
from django.contrib.admin import ModelAdmin
from django.core.exceptions import FieldDoesNotExist
from django.db.models import CharField, Field, Model, TextField


class Access(Enum):
    """How a column is compared, by what an index must be able to do."""

    EQUAL = "equal"
    PREFIX = "prefix"
    SUBSTRING = "substring"
    WORDS = "words"


class Searched(NamedTuple):
    """One of the `search_fields`.

    Args:
        path: As the admin names it, without the sign or lookup.
        model: In whose table it is.
        field: The column.
        lookup: Django's name of the comparison.
        access: None where the comparison is one that nothing is known of.
        is_upper: Whether the texts are compared in upper case.
        is_cast: Whether the column is made a text first, which is not what its indexes hold.
    """

    path: str
    model: type[Model]
    field: Field[Any, Any]
    lookup: str
    access: Access | None
    is_upper: bool
    is_cast: bool


SIGNS: Final = {"^": "istartswith", "=": "iexact", "@": "search"}
ACCESSES: Final = {
    "exact": Access.EQUAL,
    "iexact": Access.EQUAL,
    "startswith": Access.PREFIX,
    "istartswith": Access.PREFIX,
    "contains": Access.SUBSTRING,
    "icontains": Access.SUBSTRING,
    "endswith": Access.SUBSTRING,
    "iendswith": Access.SUBSTRING,
    "search": Access.WORDS,
}
IN_UPPER_CASE: Final = frozenset({"iexact", "istartswith", "icontains", "iendswith"})
CASTS_EXACT: Final = django.VERSION < (6, 1)
"""Before, the admin made a text of what is no text to compare it with what was typed."""


def searched(model: type[Model], given: str) -> Searched | None:
    """Return what an entry of `search_fields` compares, as Django reads it; None where it names no column."""
    lookup = SIGNS.get(given[:1])
    path = given[1:] if lookup else given
    current: type[Model] | None = model
    field: Any = None
    parts = path.split("__")
    for place, part in enumerate(parts):
        try:
            found: Any = None if current is None else _field(current, part)
        except FieldDoesNotExist:
            found = None
        if found is None:
            lookup = lookup or "__".join(parts[place:])
            path = "__".join(parts[:place])
            break
        field, current = found, found.related_model
    if not isinstance(field, Field) or not field.concrete:
        return None
    lookup = lookup or "icontains"
    is_text = isinstance(field, CharField | TextField)
    is_cast = not is_text and (lookup != "exact" or CASTS_EXACT)
    return Searched(path, field.model, field, lookup, ACCESSES.get(lookup), lookup in IN_UPPER_CASE, is_cast)


def _field(model: type[Model], name: str) -> Any:
    return model._meta.pk if name == "pk" else model._meta.get_field(name)


def compared_columns(model_admin: Any, search_fields: Iterable[Any]) -> list[Searched]:
    """Return what an admin's search compares; [] where it does so in a way of its own."""
    if type(model_admin).get_search_results is not ModelAdmin.get_search_results:
        return []
    found = [searched(model_admin.model, str(each)) for each in search_fields]
    return [each for each in found if each is not None]
