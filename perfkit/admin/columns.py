"""What the columns of an uploaded file may be: fields of a model, and the keys by which rows are found. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from django.db import models

from perfkit.bulk.fields import ModelField

Fields: TypeAlias = "Mapping[str, ModelField]"
"""By name."""

SEPARATORS: Final = ",;\t"


def delimiter_of(line: str) -> str:
    """Return what separates the names in the first line of a CSV file: a comma where none of the usual does."""
    return max(SEPARATORS, key=line.count)


def may_be_imported(field: ModelField) -> bool:
    """Say whether a cell can hold a value of the field.

    That of a file field is a path, by which somebody could name what is not theirs.
    """
    return field.concrete and not field.generated and not isinstance(field, models.FileField)


def is_automatic(field: ModelField) -> bool:
    """Say whether the database numbers the rows by this field."""
    return isinstance(field, models.AutoField)


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


def natural_keys(model: type[models.Model], fields: Fields) -> list[tuple[str, ...]]:
    """Return the fields of each unique constraint that holds for all rows, where a file can give all of them."""
    keys = [names for names in unique_names(model) if all(name in fields for name in names)]
    return list(dict.fromkeys(keys))


def unique_names(model: type[models.Model]) -> Iterator[tuple[str, ...]]:
    """Yield the names of the fields of each unique constraint that holds for all rows, an automatic key apart."""
    meta = (model._meta.concrete_model or model)._meta
    if not any(map(is_automatic, meta.pk_fields)):
        yield tuple(field.name for field in meta.pk_fields)
    yield from ((field.name,) for field in meta.concrete_fields if field.unique and not field.primary_key)
    yield from (tuple(names) for names in meta.unique_together)
    for constraint in meta.constraints:
        if isinstance(constraint, models.UniqueConstraint) and constraint.condition is None:
            yield from [tuple(constraint.fields)] if constraint.fields else []


def missing_names(given: Sequence[str], fields: Fields) -> list[str]:
    """Return the fields without which no row can be new, and that are not given."""
    return [name for name, field in fields.items() if is_required(field) and name not in given]
