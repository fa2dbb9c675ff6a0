"""What the columns of an uploaded file may be: fields of a model, and the keys by which rows are found. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from django.db import models

from perfkit.bulk.fields import ModelField
from perfkit.bulk.unique_keys import constraints_of_columns

Fields: TypeAlias = "Mapping[str, ModelField]"
"""By name."""

SEPARATORS: Final = ",;\t|"
MOST_COLUMNS: Final = 500
"""More than the forms of a site take, by Django's DATA_UPLOAD_MAX_NUMBER_FIELDS, are refused early."""


def delimiter_of(line: str) -> str:
    """Return what separates the names in the first line of a CSV file: a comma where none of the usual does."""
    return max(SEPARATORS, key=line.count)


def may_be_imported(field: ModelField) -> bool:
    """Say whether a cell can hold a value of the field.

    That of a file field is a path, by which somebody could name what is not theirs.
    """
    return field.concrete and not field.generated and not isinstance(field, models.FileField)


def is_automatic(field: ModelField) -> bool:
    """Say whether this is a primary key that nobody types: a number of the database's, or a default."""
    return field.primary_key and (isinstance(field, models.AutoField) or not field.editable)


def is_required(field: ModelField) -> bool:
    """Say whether a new row cannot do without a value of its own in the field."""
    return not (field.blank or field.has_default() or field.has_db_default() or is_automatic(field))


def guesses(names: Iterable[str], fields: Fields) -> dict[str, str]:
    """Return the field that each name in a file seems to mean; one that means none is left out."""
    known: dict[str, str] = {}
    for field in fields.values():
        for name in (field.verbose_name, field.attname, field.name):  # the last is the surest
            known[_plain(str(name))] = field.name
    found: dict[str, str] = {}
    for name in names:
        field_name = known.get(_plain(name))
        if field_name is not None and field_name not in found.values():
            found[name] = field_name
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
