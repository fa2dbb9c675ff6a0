"""Plain values of a query's parameters: which there are, and how each is told apart from all others."""

from __future__ import annotations

import datetime
import enum
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final


class UnknownShapeError(Exception):
    """Part of a query is not known well enough to name it; never leaves the room."""


Mark = tuple[Any, ...]


def _moment_text(moment: datetime.datetime | datetime.time) -> str:
    fold = "fold" if moment.fold else ""
    return f"{moment.isoformat()}{fold}{'' if moment.tzinfo is None else '@'}"


def _span_parts(span: datetime.timedelta) -> tuple[int, int, int]:
    return span.days, span.seconds, span.microseconds


# Note [Equal values that are sent differently]
# 1 and True and 1.0 are equal, and so are 0.0 and -0.0, Decimal("1") and Decimal("1.00"), and two moments
# with different offsets or folds; the database may answer differently to each. The type's name therefore
# stands in the mark, and where equal values of one type may be sent differently, the text stands for the value.
_TEXT_OF: Final[dict[type, Callable[[Any], object] | None]] = {
    type(None): None,
    bool: None,
    int: None,
    str: None,
    bytes: None,
    float: repr,
    Decimal: str,
    uuid.UUID: lambda value: value.bytes,
    datetime.date: datetime.date.isoformat,
    datetime.datetime: _moment_text,
    datetime.time: _moment_text,
    datetime.timedelta: _span_parts,
}
_MARKS: Final[dict[type, Mark]] = {
    kind: ("value", f"{kind.__module__}.{kind.__qualname__}") for kind in _TEXT_OF
}
_SAME: Final = frozenset(kind for kind, text in _TEXT_OF.items() if text is None)


def marked(value: object) -> tuple[Mark, object]:
    """Return what names the type of `value`, and the plain value that names it among those of its type.

    Two values have the same mark and the same plain value only if a database gets exactly the same.

    Raises:
        UnknownShapeError: It is neither plain nor a list or tuple of plain values.
    """
    kind = type(value)
    if kind in _SAME:
        return _MARKS[kind], value
    text = _TEXT_OF.get(kind)
    if text is not None:
        return _MARKS[kind], text(value)
    if isinstance(value, enum.Enum):
        return marked(_sent_of(value))
    if kind is list or kind is tuple:
        return _marked_items(value)  # type: ignore[arg-type]  # it is one of the two
    raise UnknownShapeError(kind)


def _marked_items(items: list[object] | tuple[object, ...]) -> tuple[Mark, object]:
    name = type(items).__name__
    kinds = set(map(type, items))
    if len(kinds) == 1:
        (kind,) = kinds
        if kind in _SAME:
            return (name, "all", _MARKS[kind]), tuple(items)
        text = _TEXT_OF.get(kind)
        if text is not None:
            return (name, "all", _MARKS[kind]), tuple(map(text, items))
    pairs = [marked(item) for item in items]
    return (name, "each", *[mark for mark, _ in pairs]), tuple([plain for _, plain in pairs])


def _sent_of(member: enum.Enum) -> str | int:
    """Return what is sent for a member that is also a text or a number, however it is written into a parameter."""
    plain: str | int
    if isinstance(member, str):
        plain = str.__str__(member)
    elif isinstance(member, int):
        plain = int.__int__(member)
    else:
        raise UnknownShapeError(type(member))
    if str(member) != str(plain) or f"{member}" != str(plain) or member != plain:
        raise UnknownShapeError(type(member))
    return plain
