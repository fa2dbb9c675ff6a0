"""Copies of plain values, as new as those that are unpacked, in a fraction of the time.

What cannot change is the same object in all copies; lists, dictionaries and sets are new, however deep they are.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

from perfkit.caching.memory import OBJECT_BYTES

_FIXED: Final = frozenset(
    {
        type(None),
        bool,
        int,
        float,
        str,
        bytes,
        Decimal,
        UUID,
        datetime.datetime,
        datetime.date,
        datetime.time,
        datetime.timedelta,
    }
)
"""Whose objects nobody can change."""

MOST_PARTS: Final = 1_000
"""Containers in one value; one with more is unpacked each time, for what is noted of them takes memory."""

DEEPEST: Final = 50
"""Containers within each other; what is deeper is unpacked each time, for a copy takes a stack as deep."""

PART_BYTES: Final = 100
ITEM_BYTES: Final = 56
"""That a container takes in memory, and what it holds, besides texts; measured on rows and lists of many kinds."""

Plan = tuple[tuple[Any, Any], ...] | None
"""Where in a container others are, each with its own plan; None of one whose parts are all alike: flat."""

Copier = Callable[[], Any]


class Copies(NamedTuple):
    """How those who ask get one value.

    Args:
        copy: Returns it to each, as if it were unpacked for him.
        size_bytes: That it takes in memory, about.
    """

    copy: Copier
    size_bytes: int


class _UnpackedEachTimeError(Exception):
    """The value is not one to be copied."""


class _Walk:
    """What was met of a value.

    Attributes:
        parts: Its containers, by their identities.
        items: Those in them.
    """

    def __init__(self) -> None:
        self.parts: set[int] = set()
        self.items = 0


def copies_of(value: Any, *, entry_bytes: int) -> Copies | None:
    """Return how those who ask get copies of `value`; None where it is to be unpacked for each.

    Nobody may change `value` itself.

    Args:
        entry_bytes: Of what it was unpacked from.
    """
    size_bytes = OBJECT_BYTES * entry_bytes
    if is_fixed(value):
        return Copies(partial(_same, value), size_bytes)
    walk = _Walk()
    try:
        plan = _plan(value, walk, DEEPEST)
    except _UnpackedEachTimeError:
        return None
    size_bytes = max(size_bytes, entry_bytes + PART_BYTES * len(walk.parts) + ITEM_BYTES * walk.items)
    if not plan:
        return Copies(value.copy if plan == () else partial(_rows, value), size_bytes)
    return Copies(partial(_copied, value, plan), size_bytes)


def is_fixed(value: Any) -> bool:
    """Say whether nobody who gets `value` can change it."""
    kind = type(value)
    return kind in _FIXED or (kind in {tuple, frozenset} and all(map(is_fixed, value)))


def _same(value: Any) -> Any:
    return value


def _plan(value: Any, walk: _Walk, depth: int) -> Plan:
    kind = type(value)
    if kind not in {list, dict, set} or not depth or len(walk.parts) >= MOST_PARTS:
        raise _UnpackedEachTimeError
    if id(value) in walk.parts:
        raise _UnpackedEachTimeError  # pickles have a part in two places, or within itself
    walk.parts.add(id(value))
    walk.items += len(value)
    if kind is set:
        if not all(map(is_fixed, value)):
            raise _UnpackedEachTimeError
        return ()
    parts = value.items() if kind is dict else enumerate(value)
    inner = [(place, _plan(part, walk, depth - 1)) for place, part in parts if not is_fixed(part)]
    if kind is dict and not all(map(is_fixed, value)):
        raise _UnpackedEachTimeError
    if kind is list and len(inner) == len(value) and inner and all(plan == () for _, plan in inner):
        return None
    return tuple(inner)


def _rows(value: list[Any]) -> list[Any]:
    """Return a list of containers that hold no others: what rows as dictionaries are."""
    return [row.copy() for row in value]


def _copied(value: Any, plan: tuple[tuple[Any, Any], ...]) -> Any:
    new = value.copy()
    for place, inner in plan:
        part = new[place]
        if inner:
            new[place] = _copied(part, inner)
        else:
            new[place] = part.copy() if inner is not None else _rows(part)
    return new
