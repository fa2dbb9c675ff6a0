"""How queries of the same calls are named: from the values alone, without building them."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from perfkit.caching.calls import Unbuilt, Value, are_same
from perfkit.caching.plain_values import marked
from perfkit.caching.structure import structure_of


class Naming(NamedTuple):
    """How the structure of a query follows from the values that its calls were made with.

    Args:
        skeleton: The same with all values.
        constants: The parameters that do not come from values.
        places: Where each parameter stands among the constants and the values, one after the other.
        compared: For each condition joined by AND, which value it compares a column with; None where none.
    """

    skeleton: tuple[Any, ...]
    constants: tuple[Any, ...]
    places: tuple[int, ...]
    compared: tuple[int | None, ...]

    def parameters(self, values: Iterable[Value]) -> tuple[Any, ...]:
        """Return `Structure.values` of the query that these make."""
        there = (*self.constants, *[marked(value)[1] for value in values])
        return tuple([there[place] for place in self.places])


def naming_of(unbuilt: Unbuilt) -> Naming | None:
    """Return how queries of these calls are named, None where it does not follow from the values in a simple way.

    It is learnt from a second query with values that nobody else has.
    """
    markers = tuple([_marker(type(value), number) for number, value in enumerate(unbuilt.values)])
    query = unbuilt._replace(values=markers).build()
    actual, other = structure_of(unbuilt.build()), structure_of(query)
    if actual is None or other is None or actual.skeleton != other.skeleton:
        return None
    plain = [marked(marker)[1] for marker in markers]
    constants = tuple([value for value in other.values if not _is_among(value, plain)])
    there = [*constants, *plain]
    places = tuple([_place(value, there) for value in other.values])
    compared = [getattr(condition, "rhs", None) for condition in query.where.children]
    naming = Naming(
        other.skeleton,
        constants,
        places,
        tuple([_place(value, markers) if _is_among(value, markers) else None for value in compared]),
    )
    is_right = are_same(naming.parameters(unbuilt.values), actual.values)
    return naming if is_right else None


def _marker(kind: type, number: int) -> Value:
    """Return a value of a type that is in no query of a project; those with higher numbers are greater."""
    if kind is int:
        return 2_003_004_005 + number
    if kind is str:
        return f"perfkit marks the value {number}"
    if kind is datetime.date:
        return datetime.date(1, 2, 3) + datetime.timedelta(days=number)
    return uuid.UUID(int=0x0123_4567_89AB_CDEF_0000 + number)


def _is_among(value: object, others: Sequence[object]) -> bool:
    return any(are_same([value], [other]) for other in others)


def _place(value: object, others: Sequence[object]) -> int:
    return next(place for place, other in enumerate(others) if are_same([value], [other]))
