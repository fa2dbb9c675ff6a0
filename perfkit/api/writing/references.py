"""Which rows of a request refer to rows that do not exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, cast

from django.core.exceptions import ValidationError
from django.db import models

Row = Any
"""A dict by field name, or an object that has these as attributes."""

MOST_ASKED: Final = 500
"""Keys in one query: SQLite takes few parameters."""
INTEGER_BITS: Final = 64
"""Of the largest integer column."""


class Wrong(NamedTuple):
    """What is wrong with one row."""

    row_number: int
    field: str | None
    kind: str
    text: str


def missing_references(model: type[models.Model], rows: Sequence[Row], *, using: str) -> list[Wrong]:
    """Return which rows refer to rows that the database `using` does not have, in the order of the rows.

    What is no key at all is left to the insert, which refuses it, and so is a row that leaves its reference out.

    Queries:
        One for each foreign key and 500 distinct values.
    """
    wrong = []
    for field in model._meta.concrete_fields:
        if not isinstance(field, models.ForeignKey) or not cast("Any", field).db_constraint:
            continue
        target = field.target_field
        keys = {
            number: key for number, row in enumerate(rows) if (key := _key(row, field, target)) is not None
        }
        known = _known(target, set(keys.values()), using=using)
        label = str(field.related_model._meta.verbose_name)
        wrong += [
            Wrong(number, field.name, "foreign_key", f"There is no {label} with this key.")
            for number, key in keys.items()
            if key not in known
        ]
    return sorted(wrong, key=lambda each: each.row_number)


def key_name(row: Row, model: type[models.Model], field_name: str) -> str:
    """Return how `row` names the field: a foreign key by its column, where it gives that."""
    attribute = model._meta.get_field(field_name).attname  # type: ignore[union-attr]
    return attribute if _has(row, attribute) and not _has(row, field_name) else field_name


def _key(row: Row, field: models.ForeignKey[Any, Any], target: models.Field[Any, Any]) -> Any:
    """Return what the row refers to; None where that is nothing, a row at hand, or no key."""
    name = field.name if _has(row, field.name) else field.attname
    if not _has(row, name):
        return None
    value = row[name] if isinstance(row, Mapping) else getattr(row, name)
    if value is None or isinstance(value, models.Model):
        return None
    try:
        return target.to_python(value)
    except ValidationError:
        return None


def _has(row: Row, name: str) -> bool:
    if isinstance(row, Mapping):
        return name in row
    fields = getattr(type(row), "model_fields", None)  # of pydantic; hasattr would load a model's relation
    return name in fields if fields is not None else name in vars(row)


def _known(target: models.Field[Any, Any], keys: set[Any], *, using: str) -> set[Any]:
    known: set[Any] = set()
    rows = target.model._base_manager.using(using)
    for some in _batches(filter(_can_exist, keys)):
        known.update(rows.filter(**{f"{target.attname}__in": some}).values_list(target.attname, flat=True))
    return known


def _can_exist(key: Any) -> bool:
    """Tell whether the database can be asked for `key` at all; what it cannot hold is not there."""
    if isinstance(key, str):
        return "\0" not in key and not any("\ud800" <= letter <= "\udfff" for letter in key)
    return not isinstance(key, int) or key.bit_length() < INTEGER_BITS


def _batches(keys: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(keys)
    while some := list(islice(iterator, MOST_ASKED)):
        yield some
