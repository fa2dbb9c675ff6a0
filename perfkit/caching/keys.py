"""Values that name rows in tags: of primary keys, and of declared columns.

A value comes from a caller, a statement's parameters or the driver, in whatever form each has it.
The readers here make the same key of all of them, and None where they are not sure.
"""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from typing import Any, Final

from django.db.models import BooleanField, CharField, DateField, DateTimeField, Field, TextField, UUIDField
from django.db.models.fields import IntegerField

from perfkit.caching.tags import PrimaryKey

ToPrimaryKey = Callable[[object], PrimaryKey | None]


class Kind(StrEnum):
    """What values a reader reads, for those who have to name the same values in SQL."""

    NUMBER = "number"
    TEXT = "text"
    UUID = "uuid"
    BOOLEAN = "boolean"
    DATE = "date"


DJANGOS: Final = "django.db.models.fields"
LARGEST_KEY: Final = 2**63
LONGEST_NUMBER: Final = 20
"""Digits of a number that a key's column can hold."""
ISO_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def is_plain(pk: Field[Any, Any]) -> bool:
    """Say whether a primary key is a plain integer, text or UUID column without a collation."""
    return not pk.is_relation and _is_of(pk, IntegerField, CharField, UUIDField)


def is_plain_value(field: Field[Any, Any]) -> bool:
    """Say whether equal values of a column, and no others, are equal keys: texts without a collation, for example.

    A foreign key is what it points to.
    """
    if not type(field).__module__.startswith(DJANGOS):
        return False
    target = _pointed_to(field)
    kinds = (IntegerField, CharField, TextField, UUIDField, BooleanField, DateField)
    return _is_of(target, *kinds) and not isinstance(target, DateTimeField)


def reader_of(field: Field[Any, Any]) -> ToPrimaryKey:
    """Return what turns values of a plain column into keys."""
    target = _pointed_to(field)
    if isinstance(target, IntegerField):
        return _as_int
    if isinstance(target, UUIDField):
        return _as_uuid
    if isinstance(target, BooleanField):
        return _as_bool
    if isinstance(target, DateField):
        return _as_date
    return _text_of_at_most(target.max_length if isinstance(target, CharField) else None)


def kind_of(reader: ToPrimaryKey) -> Kind | None:
    """Return what values a reader reads, None of one that is sure of none."""
    return _kinds.get(reader)


def unsure(value: object) -> None:
    """Read no value: rows of such a table are not known by it."""


def _is_of(field: Field[Any, Any], *kinds: type[Field[Any, Any]]) -> bool:
    is_djangos = type(field).__module__.startswith(DJANGOS)
    return is_djangos and isinstance(field, kinds) and not getattr(field, "db_collation", None)


def _pointed_to(field: Field[Any, Any]) -> Field[Any, Any]:
    while field.is_relation:
        relation: Any = field
        if not hasattr(relation, "target_field"):
            return field
        field = relation.target_field
    return field


def _as_int(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value) if abs(value) < LARGEST_KEY else None
    if isinstance(value, str) and len(value) <= LONGEST_NUMBER and value.isascii() and value.isdigit():
        return int(value)
    return None


@cache
def _text_of_at_most(max_length: int | None) -> ToPrimaryKey:
    """Return what reads texts; of one that is longer a database may cut off spaces, so that it is another."""

    def as_text(value: object) -> str | None:
        if not isinstance(value, str) or (max_length is not None and len(value) > max_length):
            return None
        return str.__str__(value)  # an enumeration's own str() is its name

    _kinds[as_text] = Kind.TEXT
    return as_text


def _as_uuid(value: object) -> uuid.UUID | None:
    if isinstance(value, uuid.UUID):
        return value
    if isinstance(value, str):
        try:
            return uuid.UUID(value)
        except ValueError:
            return None
    return None


def _as_bool(value: object) -> int | None:
    return int(value) if isinstance(value, int) and value in {0, 1} else None


def _as_date(value: object) -> str | None:
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value.isoformat()
    return value if type(value) is str and ISO_DATE.fullmatch(value) else None


_kinds: Final[dict[ToPrimaryKey, Kind]] = {
    _as_int: Kind.NUMBER,
    _as_uuid: Kind.UUID,
    _as_bool: Kind.BOOLEAN,
    _as_date: Kind.DATE,
}
