"""Rows of a file, checked as the admin's form would check them, but many at a time."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import models
from django.utils.translation import gettext

from perfkit.admin.columns import Fields
from perfkit.bulk.fields import ModelField
from perfkit.bulk.files import Row
from perfkit.bulk.plan import UnreadableRow
from perfkit.errors import UsageError

Values = dict[str, Any]
"""Of a row, by the fields' `attname`."""
FormFields = Mapping[str, forms.Field]


class Problem(NamedTuple):
    """What is wrong with a value; `field` is the name of the model's field, None where it is not one alone."""

    field: str | None
    text: str


class CleanRow(NamedTuple):
    """A row with nothing wrong that shows before it is written."""

    values: Values


class Existing(NamedTuple):
    """The rows of the table that those of a file may mean.

    Attributes:
        key: The names of the fields by which they are found.
        is_required: Whether each row of the file has to be one of these.
    """

    rows: models.QuerySet[Any]
    key: tuple[str, ...]
    is_required: bool


Cleaned = CleanRow | list[Problem]


class RowCleaner:
    """Asks each value's field, what its relations may be, `Model.clean` and the project's own check.

    Args:
        fields: That rows give, by name.
        formed: The admin form's own, by name; what they narrow down, and what relations may refer to.
        existing: What the rows of the file change; None where all are new.
        check: Is given the values of a row and returns them, changed or not; raises ValidationError.
    """

    def __init__(
        self,
        model: type[models.Model],
        fields: Fields,
        *,
        formed: FormFields,
        existing: Existing | None,
        check: Callable[[Values], Values],
    ) -> None:
        self._model = model
        self._fields = {field.attname: field for field in fields.values()}
        self._formed = formed
        self._existing = existing
        self._key = [fields[name] for name in existing.key] if existing else []
        self._known = {field.attname for field in model._meta.concrete_fields}
        self._seen: set[tuple[Any, ...]] = set()
        self._check = check
        self._has_own_clean = model.clean is not models.Model.clean

    def cleaned(self, rows: Sequence[Row]) -> Iterator[Cleaned]:
        """Yield what became of each row.

        Queries: one or two per relation, and one for the rows that exist.
        """
        outcomes = [self._by_field(row) for row in rows]
        good = [outcome.values for outcome in outcomes if isinstance(outcome, CleanRow)]
        refusals = [
            self._refusal(field, formfield, good)
            for field in self._fields.values()
            if isinstance(formfield := self._formed.get(field.name), forms.ModelChoiceField)
        ]
        found = self._found(good)
        for outcome in outcomes:
            if not isinstance(outcome, CleanRow):
                yield outcome
                continue
            problems = [problem for refuse in refusals if (problem := refuse(outcome.values)) is not None]
            yield problems or self._as_a_whole(outcome.values, found)

    def _by_field(self, row: Row) -> Cleaned:
        if isinstance(row, UnreadableRow):
            return [Problem(row.field, row.problem)]
        values: Values = {}
        problems = []
        for attname, value in row.items():
            field = self._fields[attname]
            try:
                values[attname] = clean_value(field, self._formed.get(field.name), value)
            except ValidationError as error:
                problems.append(Problem(field.name, " ".join(error.messages)))
        return problems or CleanRow(values)

    def _refusal(
        self, field: Any, formfield: forms.ModelChoiceField[Any], rows: Sequence[Values]
    ) -> Callable[[Values], Problem | None]:
        """Return what tells whether a row refers to what it may not.

        Of a table that refers to itself the file may bring the rows that it refers to.
        """
        target = field.target_field.attname
        wanted = {f"{target}__in": {row[field.attname] for row in rows} - {None}}
        offered: models.QuerySet[Any] = formfield.queryset  # type: ignore[assignment]  # a form's own has one
        allowed = set(offered.filter(**wanted).values_list(target, flat=True))
        known = None
        if field.related_model._meta.concrete_model is self._model._meta.concrete_model:
            everything = field.related_model._base_manager.using(offered.db)
            known = set(everything.filter(**wanted).values_list(target, flat=True))

        def refuse(row: Values) -> Problem | None:
            value = row[field.attname]
            if value is None or value in allowed or (known is not None and value not in known):
                return None
            problem = gettext("There is no %(name)s with this key, or it may not be chosen.")
            return Problem(field.name, problem % {"name": field.verbose_name})

        return refuse

    def _found(self, rows: Sequence[Values]) -> dict[tuple[Any, ...], models.Model | None]:
        """Return the rows that exist by their keys; as instances where `Model.clean` is to see them."""
        if self._existing is None or not (self._existing.is_required or self._has_own_clean):
            return {}
        names = [field.attname for field in self._key]
        wanted = {f"{name}__in": {row[name] for row in rows} - {None} for name in names}
        queryset = self._existing.rows.filter(**wanted).order_by()
        if not self._has_own_clean:
            return dict.fromkeys(queryset.values_list(*names))
        return {tuple(getattr(row, name) for name in names): row for row in queryset}

    def _as_a_whole(self, values: Values, found: Mapping[tuple[Any, ...], models.Model | None]) -> Cleaned:
        found_by = self._key_of(values)
        missing = self._missing_problem(found_by, found)
        if missing is not None:
            return [missing]
        try:
            values = self._check(values)
            self._require_known(values)
            if self._has_own_clean:
                values = asked_of_model(found.get(found_by) or self._model(), values)
        except ValidationError as error:
            return list(_problems(error))
        key = self._key_of(values)
        if key != found_by and self._existing is not None and self._existing.is_required:
            raise UsageError(f"{self._model._meta.label}: the key by which a row is found was changed.")
        if key in self._seen:
            return [self._key_problem(gettext("An earlier line has the same %(key)s."))]
        if key and None not in key:
            self._seen.add(key)
        return CleanRow(values)

    def _key_of(self, values: Values) -> tuple[Any, ...]:
        return tuple(values[field.attname] for field in self._key)

    def _require_known(self, values: Values) -> None:
        for name in values:
            if name not in self._known:
                raise UsageError(f"clean_import_row() gave {name!r}: name values by the fields' attname.")

    def _missing_problem(self, key: tuple[Any, ...], found: Mapping[tuple[Any, ...], Any]) -> Problem | None:
        if self._existing is None or not self._existing.is_required or key in found:
            return None
        return self._key_problem(gettext("There is no %(name)s with this %(key)s."))

    def _key_problem(self, text: str) -> Problem:
        names = {
            "name": self._model._meta.verbose_name,
            "key": ", ".join(str(field.verbose_name) for field in self._key),
        }
        return Problem(self._key[0].name if len(self._key) == 1 else None, text % names)


def clean_value(field: ModelField, formfield: forms.Field | None, value: Any) -> Any:
    """Return the value as the field and the form's field would clean it, without a query.

    Raises:
        ValidationError: One of them does not take it.
    """
    if isinstance(value, str):
        value = value.strip() if getattr(formfield, "strip", False) else value
        if "\0" in value:
            raise ValidationError(gettext("Null characters are not allowed."))
        if value == "" and getattr(formfield, "empty_value", "") is None:
            value = None
    value = field.to_python(value) if value is not None else None
    if value in field.empty_values:  # as by a form, nothing more is asked of what may be empty
        is_required = not field.blank if formfield is None else formfield.required
        if is_required or (value is None and not field.null):
            raise ValidationError(field.error_messages["blank"])
        return value
    _require_range(value)
    if field.is_relation:
        models.Field.validate(field, value, None)  # a relation's own looks into the table
        field.target_field.run_validators(value)  # type: ignore[attr-defined]  # a relation has one
    else:
        field.validate(value, None)
        _require_choice(formfield, value)
    field.run_validators(value)
    if formfield is not None and not field.is_relation:
        formfield.run_validators(value)
    return value


def _require_range(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValidationError(gettext("Enter a number."))
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        try:
            value.astimezone(dt.UTC)
        except OverflowError:
            raise ValidationError(gettext("Enter a valid date/time.")) from None


def _require_choice(formfield: forms.Field | None, value: Any) -> None:
    """Raise where the form offers fewer choices than the model."""
    if not isinstance(formfield, forms.ChoiceField):
        return
    if not formfield.valid_value(value if isinstance(value, str) else formfield.prepare_value(value)):
        problem = gettext("Select a valid choice. %(value)s is not one of the available choices.")
        raise ValidationError(problem % {"value": value})


def asked_of_model(instance: models.Model, values: Values) -> Values:
    """Return the values as `Model.clean` leaves them on an instance that has them, with others that it sets.

    Raises:
        ValidationError: It refuses them.
    """
    for name, value in values.items():
        setattr(instance, name, value)
    names = [field.attname for field in instance._meta.concrete_fields if not field.generated]
    before = {name: getattr(instance, name) for name in names}
    instance.clean()
    after = {name: getattr(instance, name) for name in names}
    return {name: after[name] for name in names if name in values or after[name] != before[name]}


def _problems(error: ValidationError) -> Iterator[Problem]:
    if not hasattr(error, "error_dict"):
        yield Problem(None, " ".join(error.messages))
        return
    for name, messages in error.message_dict.items():
        yield Problem(None if name == NON_FIELD_ERRORS else name, " ".join(messages))
