"""What the relations of a file's rows may refer to, asked for many rows at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from django import forms
from django.db import models
from django.utils.translation import gettext

from perfkit.admin.columns import Fields, is_automatic
from perfkit.bulk.chunks import chunks
from perfkit.bulk.fields import ModelField

ASKED_VALUES: Final = 1000
"""Of one query."""


class Relation:
    """A relation that rows of a file give, and what the admin's form offers for it.

    Args:
        by: The field of the other model whose values the file has in place of the key; None where it has the key.
        is_given: Whether the file gives what the relation refers to, of its own rows.

    Attributes:
        target: The `attname` of the field that it refers to.
        by: The field whose values the file has.
        is_within: Whether that is of the same table, and the file may bring what it refers to.
        is_asked_before: Whether that is of the same table, and the file may not: what it refers to has to be
            there before anything is written, when rows of the file have no number yet.
    """

    def __init__(
        self,
        model: type[models.Model],
        field: Any,
        offered: models.QuerySet[Any],
        *,
        by: ModelField | None,
        is_given: bool,
    ) -> None:
        self.name: str = field.name
        self.attname: str = field.attname
        self.verbose_name = (
            field.related_model._meta.verbose_name if field.many_to_many else field.verbose_name
        )
        self.target: str = field.target_field.attname
        self._offered = offered
        self.by: ModelField = by or field.target_field
        is_own = field.related_model._meta.concrete_model is model._meta.concrete_model
        is_brought = by is None and (is_given or not is_automatic(field.target_field))
        self.is_within = is_own and is_brought
        self.is_asked_before = is_own and not is_brought

    def keys(self, values: Collection[Any], using: str | None = None) -> dict[Any, Any]:
        """Return the key for each of the values that somebody may choose.

        Queries: One per 1,000 values.
        """
        return self._pairs(self.by.attname, self.target, values, using)

    def names(self, keys: Collection[Any], using: str | None = None) -> dict[Any, Any]:
        """Return what a file has in place of each of these keys that somebody may choose.

        Queries: As `keys`.
        """
        return self._pairs(self.target, self.by.attname, keys, using)

    def _pairs(self, given: str, wanted: str, values: Collection[Any], using: str | None) -> dict[Any, Any]:
        offered = self._offered if using is None else self._offered.using(using)
        found: dict[Any, Any] = {}
        for some in chunks(values, ASKED_VALUES):
            found.update(offered.filter(**{f"{given}__in": some}).values_list(given, wanted))
        return found

    @property
    def problem(self) -> str:
        """What is said of a value that is not allowed."""
        if self.by.attname == self.target:
            problem = gettext("There is no %(name)s with this key, or it may not be chosen.")
        else:
            problem = gettext("There is no %(name)s with this %(key)s, or it may not be chosen.")
        return problem % {"name": self.verbose_name, "key": self.by.verbose_name}


def relations_of(
    model: type[models.Model],
    fields: Fields,
    formed: Mapping[str, forms.Field],
    given_by: Mapping[str, ModelField],
) -> Iterator[Relation]:
    """Yield the relations among the fields of which a form offers some rows.

    Args:
        given_by: By name, the field of the other model whose values the file has, where that is not the key.
    """
    for name, field in fields.items():
        formfield = formed.get(name)
        if isinstance(formfield, forms.ModelChoiceField):
            offered: Any = formfield.queryset
        elif field.many_to_many and field.related_model is not None:  # then the form does not offer it
            offered = field.related_model._default_manager.all()
        else:
            continue
        is_given = field.target_field.name in fields  # type: ignore[attr-defined]  # a relation has one
        yield Relation(model, field, offered, by=given_by.get(name), is_given=is_given)
