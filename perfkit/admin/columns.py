"""What the columns of an uploaded file may be: fields of a model, and the keys by which rows are found. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from django.db import models
from django.db.models.constants import LOOKUP_SEP

from perfkit.bulk.fields import ModelField
from perfkit.bulk.unique_keys import constraints_of_columns

Fields: TypeAlias = "Mapping[str, ModelField]"
"""By name."""

Lookups: TypeAlias = "Mapping[str, Sequence[ModelField]]"
"""By the name of a relation, the fields by which a file may give what it refers to, other than the key."""

SEPARATORS: Final = ",;\t|"
MOST_COLUMNS: Final = 500
"""More than the forms of a site take, by Django's DATA_UPLOAD_MAX_NUMBER_FIELDS, are refused early."""


def delimiter_of(line: str) -> str:
    """Return what separates the names in the first line of a CSV file: a comma where none of the usual does."""
    return max(SEPARATORS, key=line.count)


def may_be_imported(field: ModelField) -> bool:
    """Say whether a cell can hold a value of the field, which is one of the table's own.

    That of a file field is a path, by which somebody could name what is not theirs.
    """
    is_column = field.concrete and not field.many_to_many
    return is_column and not field.generated and not isinstance(field, models.FileField)


def may_be_linked(field: Any) -> bool:
    """Say whether a cell can hold what a relation to many refers to.

    Nobody knows what else a table of the project's own says of a link, and rows of one table may not be there yet.
    """
    if not field.many_to_many:
        return False
    is_own = field.related_model._meta.concrete_model is field.model._meta.concrete_model
    return bool(field.remote_field.through._meta.auto_created) and not is_own


def importable_fields(model: type[models.Model]) -> dict[str, ModelField]:
    """Return the model's own fields and its relations to many that a cell can hold, by name."""
    found: dict[str, ModelField] = {field.name: field for field in model._meta.concrete_fields}
    return found | {field.name: field for field in model._meta.many_to_many if may_be_linked(field)}


def is_automatic(field: ModelField) -> bool:
    """Say whether this is a primary key that nobody types: a number of the database's, or a default."""
    return field.primary_key and (isinstance(field, models.AutoField) or not field.editable)


def is_required(field: ModelField) -> bool:
    """Say whether a new row cannot do without a value of its own in the field."""
    return not (field.blank or field.has_default() or field.has_db_default() or is_automatic(field))


def lookup_fields(field: ModelField) -> list[ModelField]:
    """Return the fields, other than the key, by which a cell can name the one row that a relation refers to."""
    if not isinstance(field, models.ForeignKey | models.ManyToManyField):
        return []
    unique = {key[0] for key in unique_names(field.related_model) if len(key) == 1}
    return [
        each
        for each in field.related_model._meta.concrete_fields
        if each.name in unique
        and each != field.target_field
        and not (each.null or each.is_relation)
        and may_be_imported(each)
    ]


def lookup_name(field: ModelField, by: ModelField) -> str:
    """Return what stands for a relation given by another field than the key, as in `airline__name`."""
    return f"{field.name}{LOOKUP_SEP}{by.name}"


def column_names(fields: Fields, lookups: Lookups) -> list[str]:
    """Return the names of columns that say by themselves what they are."""
    names = [
        [name, *(lookup_name(field, by) for by in lookups.get(name, ()))] for name, field in fields.items()
    ]
    return [each for some in names for each in some]


def field_named(choice: str) -> str:
    """Return the name of the field that a choice means, whatever it is given by."""
    return choice.partition(LOOKUP_SEP)[0]


def guesses(names: Iterable[str], fields: Fields, lookups: Lookups | None = None) -> dict[str, str]:
    """Return the field that each name in a file seems to mean; one that means none is left out."""
    known: dict[str, str] = {}
    for name, others in (lookups or {}).items():
        for other in others:
            choice = lookup_name(fields[name], other)
            for said in (f"{fields[name].verbose_name} {other.verbose_name}", f"{name} {other.name}", choice):
                known[_plain(said)] = choice
    for field in fields.values():
        for said in (str(field.verbose_name), field.attname, field.name):  # the last is the surest
            known[_plain(said)] = field.name
    found: dict[str, str] = {}
    for name in names:
        meant = known.get(_plain(name))
        if meant is not None and field_named(meant) not in map(field_named, found.values()):
            found[name] = meant
    return found


def _plain(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def is_number(model: type[models.Model], key: Sequence[str]) -> bool:
    """Say whether these are the names of an automatic primary key."""
    return list(key) == [model._meta.pk.name] and is_automatic(model._meta.pk)


def unique_names(model: type[models.Model]) -> list[tuple[str, ...]]:
    """Return the fields of the primary key, and of each unique constraint that always holds for all rows."""
    return list(dict.fromkeys(_unique_names(model)))


def _unique_names(model: type[models.Model]) -> Iterator[tuple[str, ...]]:
    meta = (model._meta.concrete_model or model)._meta
    yield tuple(field.name for field in meta.pk_fields)
    yield from ((field.name,) for field in meta.concrete_fields if field.unique and not field.primary_key)
    yield from (tuple(names) for names in meta.unique_together)
    yield from (tuple(constraint.fields) for constraint in constraints_of_columns(model))


def missing_names(given: Sequence[str], fields: Fields) -> list[str]:
    """Return the fields without which no row can be new, and that are not given."""
    return [name for name, field in fields.items() if is_required(field) and name not in given]
