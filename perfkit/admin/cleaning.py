"""Rows of a file, checked as the admin's form would check them, but many at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import models
from django.utils.translation import gettext

from perfkit.admin.columns import Fields
from perfkit.admin.relations import Relation, relations_of
from perfkit.admin.rows import Cleaned, CleanRow, Existing, Problem, Values
from perfkit.admin.values import clean_value, clean_values
from perfkit.bulk.files import Row
from perfkit.bulk.plan import UnreadableRow
from perfkit.errors import UsageError

FormFields = Mapping[str, forms.Field]


class RowCleaner:
    """Asks each value's field, what its relations may be, `Model.clean` and the project's own check.

    Args:
        fields: That rows give, by name.
        formed: The admin form's own, by name; what they narrow down, and what relations may refer to.
        given_by: By the name of a relation, the field whose values rows have in place of its key.
        existing: What the rows of the file change; None where all are new.
        check: Is given the values of a row and returns them, changed or not; raises ValidationError.

    Attributes:
        fields: As given.
        relations: Among the fields. Of those within the table nothing is asked here, as any row may bring it.
    """

    def __init__(
        self,
        model: type[models.Model],
        fields: Fields,
        *,
        formed: FormFields,
        given_by: Fields,
        existing: Existing | None,
        check: Callable[[Values], Values],
    ) -> None:
        self._model = model
        self.fields = fields
        self._fields = {field.attname: field for field in fields.values()}
        self._many = [name for name, field in fields.items() if field.many_to_many]
        self._formed = formed
        self._given_by = given_by
        self.relations = list(relations_of(model, fields, formed, given_by))
        self._keys_before: dict[str, dict[Any, Any]] = {}
        self._existing = existing
        self._key = [fields[name] for name in existing.key] if existing else []
        self._known = {field.attname for field in model._meta.concrete_fields}
        self._seen: set[tuple[Any, ...]] = set()
        self._check = check
        self._has_own_clean = model.clean is not models.Model.clean

    @property
    def names_before(self) -> list[str]:
        """The names of the fields that `begin` has to see."""
        return [relation.name for relation in self.relations if relation.is_asked_before]

    def begin(self, rows: Iterable[Row]) -> None:
        """Forget an earlier reading of the file; called before anything of it is written.

        Args:
            rows: All of the file, with the fields `names_before` alone.

        Queries: One per such relation and 1,000 values.
        """
        self._seen.clear()
        before = [relation for relation in self.relations if relation.is_asked_before]
        values: dict[str, set[Any]] = {relation.attname: set() for relation in before}
        for row in rows if before else ():
            outcome = self._by_field(row)
            if isinstance(outcome, CleanRow):
                for name, value in outcome.values.items():
                    values[name].add(value)
        self._keys_before = {each.attname: each.keys(values[each.attname] - {None}) for each in before}

    def cleaned(self, rows: Sequence[Row]) -> Iterator[Cleaned]:
        """Yield what became of each row.

        Queries: One per relation to another table, and one for the rows that exist.
        """
        outcomes = self._with_keys([self._by_field(row) for row in rows])
        found = self._found([outcome.values for outcome in outcomes if isinstance(outcome, CleanRow)])
        for outcome in outcomes:
            yield self._as_a_whole(outcome, found) if isinstance(outcome, CleanRow) else outcome

    def _by_field(self, row: Row) -> Cleaned:
        if isinstance(row, UnreadableRow):
            return [Problem(self._fields[row.field].name if row.field else None, row.problem)]
        values: Values = {}
        links: dict[str, list[Any]] = {}
        problems = []
        for attname, value in row.items():
            field = self._fields[attname]
            formfield, by = self._formed.get(field.name), self._given_by.get(field.name)
            try:
                if field.many_to_many:
                    links[attname] = clean_values(field, formfield, value, by=by)
                else:
                    values[attname] = clean_value(field, formfield, value, by=by)
            except ValidationError as error:
                problems.append(Problem(field.name, " ".join(error.messages)))
        return problems or CleanRow(values, links)

    def _with_keys(self, outcomes: Sequence[Cleaned]) -> list[Cleaned]:
        """Return the rows with the keys of what they refer to, or that they refer to what they may not."""
        rows = [outcome for outcome in outcomes if isinstance(outcome, CleanRow)]
        keys: list[tuple[Relation, Mapping[Any, Any]]] = []
        for relation in self.relations:
            if relation.is_within:
                continue
            known = self._keys_before.get(relation.attname)
            if known is None:
                known = relation.keys({value for row in rows for value in _referred(row, relation)})
            keys.append((relation, known))
        return [_with_keys(each, keys) if isinstance(each, CleanRow) else each for each in outcomes]

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

    def _as_a_whole(self, row: CleanRow, found: Mapping[tuple[Any, ...], models.Model | None]) -> Cleaned:
        found_by = self._key_of(row.values)
        missing = self._missing_problem(found_by, found)
        if missing is not None:
            return [missing]
        try:
            values = dict(self._check(row.values | row.links))
            links = {name: values.pop(name) for name in self._many if name in values}
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
        return CleanRow(values, links)

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


def _referred(row: CleanRow, relation: Relation) -> list[Any]:
    """Return the values by which the row gives the relation."""
    if relation.name in row.links:
        return row.links[relation.name]
    value = row.values[relation.attname]
    return [] if value is None else [value]


def _with_keys(row: CleanRow, keys: Sequence[tuple[Relation, Mapping[Any, Any]]]) -> Cleaned:
    problems = []
    for relation, known in keys:
        values = _referred(row, relation)
        unknown = [value for value in values if value not in known]
        if unknown:
            which = f"“{', '.join(map(str, unknown))}”: " if relation.name in row.links else ""
            problems.append(Problem(relation.name, which + relation.problem))
        elif relation.name in row.links:
            row.links[relation.name] = [known[value] for value in values]
        elif values:
            row.values[relation.attname] = known[values[0]]
    return problems or row


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
