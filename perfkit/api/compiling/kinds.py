"""What becomes of a column's value in an answer: the same as pydantic and ninja's renderer make of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from json.encoder import encode_basestring_ascii
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin
from uuid import UUID

from ninja.responses import NinjaJSONEncoder
from pydantic import TypeAdapter

COLUMNS: Final[dict[str, type]] = {
    **dict.fromkeys(("AutoField", "BigAutoField", "SmallAutoField"), int),
    **dict.fromkeys(("IntegerField", "BigIntegerField", "SmallIntegerField"), int),
    **dict.fromkeys(("PositiveIntegerField", "PositiveBigIntegerField", "PositiveSmallIntegerField"), int),
    **dict.fromkeys(("CharField", "TextField", "SlugField", "URLField", "EmailField"), str),
    "BooleanField": bool,
    "FloatField": float,
    "DecimalField": Decimal,
    "DateTimeField": datetime,
    "DateField": date,
    "TimeField": time,
    "DurationField": timedelta,
    "UUIDField": UUID,
}
"""By the internal type of Django's own fields, what the values of their columns are."""

LONGEST_KEPT: Final = 100
"""Characters of a text that is written once; names and codes are shorter, what people write is longer."""

MOST_KEPT: Final = 20_000
"""Texts, a few megabytes; beyond, all are forgotten and written anew."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What becomes of a value.

    Attributes:
        writes: The part of an f-string, or the call, that writes a value in JSON as ninja's renderer does;
            `{}` stands for the value.
        is_optional: Whether it may be None, which is `null`.
        check: What pydantic makes of a value; None where it leaves all values of the column as they are.
    """

    writes: str
    is_optional: bool
    check: Callable[[Any], Any] | None = None


def kind_of(
    annotation: Any, metadata: tuple[Any, ...], column: str, *, is_nullable: bool, is_typed: bool
) -> Kind:
    """Return what becomes of the values of a column in a field of a schema.

    Args:
        annotation: The type of the schema's field.
        metadata: What else pydantic knows of it: bounds, patterns.
        column: The internal type of the field whose values they are; empty for a field of nobody knows which kind.
        is_nullable: Whether there may be none.
        is_typed: Whether the database lets into a column only values of its type.
    """
    wanted, is_optional = _without_none(annotation)
    plain = COLUMNS.get(column) if is_typed else None
    if plain is not None and wanted is plain and not metadata and (is_optional or not is_nullable):
        return Kind(WRITERS[plain], is_optional=is_nullable)
    if wanted is Any and not metadata:
        return Kind("json({})", is_optional=False)
    adapter = TypeAdapter(Annotated[annotation, *metadata] if metadata else annotation)
    return Kind("json({})", is_optional=False, check=partial(_checked, adapter))


def internal_type_of(field: Any) -> str:
    """Return the internal type of a field of Django's own, that of its target where it is a foreign key.

    Such a field shows a column's value as the driver gives it. Empty for any other.
    """
    while field.is_relation:
        field = field.target_field
    return str(field.get_internal_type()) if type(field).__module__.startswith("django.db.models.") else ""


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """Return a type without None, and whether it had that."""
    if get_origin(annotation) in {Union, UnionType}:
        others = [each for each in get_args(annotation) if each is not NoneType]
        if len(others) == 1 and len(get_args(annotation)) > 1:
            return others[0], True
    return annotation, annotation is Any


def _checked(adapter: TypeAdapter[Any], value: Any) -> Any:
    return adapter.dump_python(adapter.validate_python(value, from_attributes=True))


def json_text(value: Any) -> str:
    """Return any value in JSON, as ninja's renderer writes it."""
    return json.dumps(value, cls=NinjaJSONEncoder)


def float_text(value: float) -> str:
    """Return a float in JSON."""
    return repr(value) if isfinite(value) else json.dumps(value)


def datetime_text(value: datetime) -> str:
    """Return a moment in JSON, to the millisecond, as Django's encoder writes it."""
    text = value.isoformat()
    if value.microsecond:
        text = text[:23] + text[26:]
    return f'"{text[:-6]}Z"' if text.endswith("+00:00") else f'"{text}"'


class Texts(dict[str, str]):
    """Short texts in JSON, each written once in a process: in lists the same ones come again and again."""

    def __missing__(self, key: str) -> str:
        """Write one."""
        text: str = encode_basestring_ascii(key)
        if len(key) <= LONGEST_KEPT:
            if len(self) >= MOST_KEPT:
                self.clear()
            self[key] = text
        return text


def quoted(value: Any) -> str:
    """Return a value that is shown as a text, none of whose characters has to be escaped."""
    return f'"{_encoder.default(value)}"'


_encoder: Final = NinjaJSONEncoder()

WRITERS: Final[dict[type, str]] = {
    int: "{}",
    str: "texts[{}]",
    bool: "bools[{}]",
    float: "float_text({})",
    datetime: "datetime_text({})",
    **dict.fromkeys((Decimal, date, time, timedelta, UUID), "quoted({})"),
}
"""None of them takes None: where the model says that there always is a value, its absence is an error."""

NAMES: Final[dict[str, Any]] = {
    "json": json_text,
    "quoted": quoted,
    "bools": {True: "true", False: "false"},
    "float_text": float_text,
    "texts": Texts(),
    "datetime_text": datetime_text,
}
"""What the generated code calls."""
