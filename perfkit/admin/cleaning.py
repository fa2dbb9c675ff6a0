"""Rows of a file, checked as the admin's form would check them, but many at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import models
from django.utils.translation import gettext

from perfkit.admin.columns import Fields
from perfkit.bulk.fields import ModelField
from perfkit.bulk.files import Row
from perfkit.bulk.plan import UnreadableRow

Values = dict[str, Any]
"""Of a row, by the fields' `attname`."""


class Problem(NamedTuple):
    """What is wrong with a value; `field` is the name of the model's field, None where it is not one alone."""

    field: str | None
    text: str


class CleanRow(NamedTuple):
    """A row with nothing wrong that shows before it is written."""

    values: Values


Cleaned = CleanRow | list[Problem]


class RowCleaner:
    """Asks each value's field, what its relations may be, `Model.clean` and the project's own check.

    Args:
        fields: That rows give, by name.
        related: What a relation may refer to, by the field's name; the database alone says so of others.
        existing: The rows that may be changed, where each row has to be one of these.
        check: Is given the values of a row and returns them, changed or not; raises ValidationError.
    """

    def __init__(
        self,
        model: type[models.Model],
        fields: Fields,
        *,
        related: Mapping[str, models.QuerySet[Any]],
        existing: models.QuerySet[Any] | None,
        check: Callable[[Values], Values],
    ) -> None:
        self._model = model
        self._fields = {field.attname: field for field in fields.values()}
        self._related = related
        self._existing = existing
        self._check = check
        self._has_own_clean = model.clean is not models.Model.clean

    def cleaned(self, rows: Sequence[Row]) -> Iterator[Cleaned]:
        """Yield what became of each row.

        Queries: one per relation, and one for the rows that exist.
        """
        outcomes = [self._by_field(row) for row in rows]
        good = [outcome.values for outcome in outcomes if isinstance(outcome, CleanRow)]
        unknown = [self._unknown(name, queryset, good) for name, queryset in self._related.items()]
        found = self._found(good)
        for outcome in outcomes:
            if not isinstance(outcome, CleanRow):
                yield outcome
                continue
            problems = [problem for look in unknown if (problem := look(outcome.values)) is not None]
            yield problems or self._as_a_whole(outcome.values, found)

    def _by_field(self, row: Row) -> Cleaned:
        if isinstance(row, UnreadableRow):
            return [Problem(row.field, row.problem)]
        values: Values = {}
        problems = []
        for attname, value in row.items():
            field = self._fields[attname]
            try:
                values[attname] = clean_value(field, value)
            except ValidationError as error:
                problems.append(Problem(field.name, " ".join(error.messages)))
        return problems or CleanRow(values)

    def _unknown(
        self, name: str, queryset: models.QuerySet[Any], rows: Sequence[Values]
    ) -> Callable[[Values], Problem | None]:
        """Return what tells whether a row refers to what it may not."""
        field: Any = next(each for each in self._fields.values() if each.name == name)
        target = field.target_field.attname
        wanted = {row[field.attname] for row in rows} - {None}
        known = set(queryset.filter(**{f"{target}__in": wanted}).values_list(target, flat=True))

        def look(row: Values) -> Problem | None:
            value = row[field.attname]
            if value is None or value in known:
                return None
            return Problem(
                name, gettext("There is no %(name)s with this key.") % {"name": field.verbose_name}
            )

        return look

    def _found(self, rows: Sequence[Values]) -> dict[Any, models.Model] | None:
        if self._existing is None:
            return None
        pk = self._model._meta.pk.attname
        queryset = self._existing if self._has_own_clean else self._existing.only(pk)
        return queryset.in_bulk([row[pk] for row in rows if row[pk] is not None])

    def _as_a_whole(self, values: Values, found: Mapping[Any, models.Model] | None) -> Cleaned:
        try:
            values = self._check(values)
            instance = None
            if found is not None:
                pk = self._model._meta.pk
                instance = found.get(values[pk.attname])
                if instance is None:
                    problem = gettext("There is no %(name)s with this %(key)s.")
                    names = {"name": self._model._meta.verbose_name, "key": pk.verbose_name}
                    return [Problem(pk.name, problem % names)]
            if self._has_own_clean:
                instance = instance or self._model()
                for name, value in values.items():
                    setattr(instance, name, value)
                instance.clean()
                values = {name: getattr(instance, name) for name in values}
        except ValidationError as error:
            return list(_problems(error))
        return CleanRow(values)


def clean_value(field: ModelField, value: Any) -> Any:
    """Return the value as `field.clean` would, without a query of its own.

    Raises:
        ValidationError: The field does not take it.
    """
    if not field.is_relation:
        return field.clean(value, None)
    value = field.to_python(value)
    models.Field.validate(field, value, None)  # a relation's own looks into the table
    field.run_validators(value)
    return value


def _problems(error: ValidationError) -> Iterator[Problem]:
    if not hasattr(error, "error_dict"):
        yield Problem(None, " ".join(error.messages))
        return
    for name, messages in error.message_dict.items():
        yield Problem(None if name == NON_FIELD_ERRORS else name, " ".join(messages))
