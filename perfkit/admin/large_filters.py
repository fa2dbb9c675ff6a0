"""Filters of an admin's list that do not load thousands of choices to show them.

A filter by a relation with many rows, and one by the values of a column of a large table, asks for the value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from django.contrib.admin.filters import AllValuesFieldListFilter, FieldListFilter, RelatedFieldListFilter
from django.contrib.admin.utils import (
    get_fields_from_path,
    get_model_from_relation,
    reverse_field_path,
)
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.db.models.fields.related import RelatedField
from django.http import HttpRequest

from perfkit.admin.rough_counts import RoughCount, rows_of
from perfkit.admin.shown_relations import with_texts

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList

MOST_CHOICES: Final = 100
TEMPLATE: Final = "perfkit/admin/value_filter.html"


@runtime_checkable
class KnowsItsTable(Protocol):
    """What a `LargeTableChangeList` is to a filter; a list of the project's own need not be one."""

    @property
    def is_of_large_table(self) -> bool:
        """Whether the admin has more rows than are counted."""


class AskedValue:
    """A filter that can show a field for the value, in the place of choices.

    Attributes:
        is_asked: Whether it does.
        asked: What the template shows of the field, by name.
    """

    template = TEMPLATE
    is_asked = False
    asked: Mapping[str, Any] = {}

    def _ask(
        self,
        changelist: ChangeList,
        name: str,
        null_name: str,
        *,
        value: str,
        is_null: bool,
        may_be_null: bool,
    ) -> dict[str, Any]:
        """Show the field; return what it is shown with."""
        self.is_asked = True
        given = [
            (key, values) for key, values in changelist.filter_params.items() if key not in {name, null_name}
        ]
        null_link = changelist.get_query_string({null_name: "True"}, [name]) if may_be_null else ""
        return {
            "name": name,
            "value": value,
            "text": value,
            "is_null": is_null,
            "all_link": changelist.get_query_string(remove=[name, null_name]),
            "null_link": null_link,
            "kept": [(key, value) for key, values in given for value in _listed(values)],
        }


class LargeRelationFilter(AskedValue, RelatedFieldListFilter):
    """Shows the rows that a relation leads to as choices, where there are no more than 100.

    Queries: 1, which reads 101 rows; another for the chosen one where there are more.
    """

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
        """Return the choices, or the chosen one alone where there are too many."""
        model = get_model_from_relation(field)
        is_forward = isinstance(field, RelatedField)
        limits = field.get_limit_choices_to() if is_forward else field.limit_choices_to
        rows = model._default_manager.complex_filter(limits)
        if ordering := self.field_admin_ordering(field, request, model_admin):
            rows = rows.order_by(*ordering)
        key = field.target_field.attname if is_forward else "pk"
        found = list(with_texts(rows)[: MOST_CHOICES + 1])
        if len(found) > MOST_CHOICES:
            self.is_asked = True
            found = self._chosen(rows, field.target_field.name)
        return [(getattr(row, key), str(row)) for row in found]

    def has_output(self) -> bool:
        """Say whether there is something to choose."""
        return self.is_asked or super().has_output()

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Yield the choices, or prepare the field."""
        if not self.is_asked:
            yield from super().choices(changelist)
            return
        asked = self._ask(
            changelist,
            self.lookup_kwarg,
            self.lookup_kwarg_isnull,
            value=_last(self.lookup_val),
            is_null=bool(self.lookup_val_isnull),
            may_be_null=self.include_empty_choice,
        )
        chosen = ", ".join(str(text) for _, text in self.lookup_choices)
        self.asked = {
            **asked,
            "text": chosen or asked["value"],
            "label": self.field.target_field.verbose_name,  # type: ignore[attr-defined]  # a relation's
        }

    def _chosen(self, rows: QuerySet[Any], name: str) -> list[Any]:
        values = self.used_parameters.get(self.lookup_kwarg)
        if not values:
            return []
        try:
            return list(rows.filter(**{f"{name}__in": values})[:MOST_CHOICES])
        except (ValueError, ValidationError):
            return []  # none that the key could have; the list refuses it as it does any wrong address


class LargeValueFilter(AskedValue, AllValuesFieldListFilter):
    """Shows the values of a column as choices, where there are no more than 100, and the table is not large.

    Finding them reads it all.

    Queries: 1, and those that tell whether the table is large where the list does not.
    """

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Yield the choices, or prepare the field."""
        if not self._is_of_large_table(changelist):
            found: Any = list(self.lookup_choices[: MOST_CHOICES + 1])
            self.lookup_choices = found
            if len(found) <= MOST_CHOICES:
                yield from super().choices(changelist)
                return
        asked = self._ask(
            changelist,
            self.lookup_kwarg,
            self.lookup_kwarg_isnull,
            value=_last(self.lookup_val),
            is_null=bool(self.lookup_val_isnull),
            may_be_null=self.field.null,
        )
        self.asked = {**asked, "label": self.title}

    def _is_of_large_table(self, changelist: ChangeList) -> bool:
        owner, _ = reverse_field_path(changelist.model, self.field_path)
        if owner is changelist.model and isinstance(changelist, KnowsItsTable):
            return changelist.is_of_large_table
        return isinstance(rows_of(owner._default_manager.all()), RoughCount)


LARGE: Final = {RelatedFieldListFilter: LargeRelationFilter, AllValuesFieldListFilter: LargeValueFilter}


def large_filters(model: type[Model], list_filter: Sequence[Any]) -> list[Any]:
    """Return the filters of a list, those in their place that would show any number of choices."""
    return [_large(model, each) for each in list_filter]


def _large(model: type[Model], given: Any) -> Any:
    if isinstance(given, tuple | list):
        path, kind = given
    elif isinstance(given, str):
        path, kind = given, _default_filter(get_fields_from_path(model, given)[-1])
    else:
        return given
    return (path, LARGE[kind]) if kind in LARGE else given


def _default_filter(field: Any) -> Any:
    """Return the class of filters that Django, or the project, has for such fields."""
    known: list[Any] = FieldListFilter._field_list_filters  # type: ignore[attr-defined]  # noqa: SLF001  # no public name
    return next((kind for is_for, kind in known if is_for(field)), None)


def _listed(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else [values]


def _last(values: Any) -> str:
    return str(_listed(values)[-1]) if values else ""
