"""What a shape is, and how its values are drawn."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from benchmarks.advisor.filling import Sizes

FIRST: Final = datetime(2022, 1, 1, tzinfo=UTC)
DAYS: Final = 900
NONE: Final = "no index"
"""The kind of what needs none."""


class Draw:
    """The values of one call, the same in every run.

    Args:
        number: Of the call, from 0; each has other values.
    """

    def __init__(self, shape: str, number: int, sizes: Sizes) -> None:
        self.number = number
        self._random = random.Random(f"{shape} {number}")
        self._sizes = sizes

    def key(self, table: str, *, among: int | None = None) -> int:
        """Return the key of a row; among the first so many where told so."""
        size = int(getattr(self._sizes, table))
        return self._random.randrange(1, min(among or size, size) + 1)

    def keys(self, table: str, count: int) -> list[int]:
        """Return the keys of several rows."""
        return sorted({self.key(table) for _ in range(count)})

    def uid(self, prefix: str, table: str) -> uuid.UUID:
        """Return the UUID of a row."""
        text = f"{prefix}{self.key(table)}".encode()
        return uuid.UUID(hashlib.md5(text, usedforsecurity=False).hexdigest())

    def whole(self, low: int, high: int) -> int:
        """Return a number, both ends included."""
        return self._random.randint(low, high)

    def moment(self, low: float = 0.0, high: float = 1.0) -> datetime:
        """Return a whole minute in this part of the time that the data covers."""
        minutes = self._random.uniform(low, high) * DAYS * 1440
        return FIRST + timedelta(minutes=int(minutes))

    def day(self, low: float = 0.0, high: float = 1.0) -> date:
        """Return a day, likewise."""
        return self.moment(low, high).date()

    def among(self, *values: Any) -> Any:
        """Return one of the values, another one in each call."""
        return values[self.number % len(values)]


Ask = Callable[[Draw], Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """One question that the project asks, with other values in each call.

    Attributes:
        kind: Its class, such as `keyset page`.
        ask: Returns a queryset to be read, or asks by itself, as `count()` does.
        keys: By table, what an index could have for a key besides the columns that stand in the statement:
            expressions, and columns with an operator class.
        where: By table, conditions that a partial index could have.
        carried: By table, columns that an index could carry to answer by itself.
        extra: Whole indexes that may serve, from the table's name on.
        pairs: Whether two indexes that help nothing alone may help together.
    """

    name: str
    kind: str
    ask: Ask = field(repr=False)
    keys: Mapping[str, Sequence[str]]
    where: Mapping[str, Sequence[str]]
    carried: Mapping[str, Sequence[str]]
    extra: Sequence[str]
    pairs: bool

    @property
    def needs_index(self) -> bool:
        """Whether an index is to be found for it."""
        return self.kind != NONE


SHAPES: Final[dict[str, Shape]] = {}


def shape(
    kind: str,
    *,
    keys: Mapping[str, Sequence[str]] | None = None,
    where: Mapping[str, Sequence[str]] | None = None,
    carried: Mapping[str, Sequence[str]] | None = None,
    extra: Sequence[str] = (),
    pairs: bool = False,
) -> Callable[[Ask], Ask]:
    """Declare the decorated function as a shape; its name is the shape's."""

    def declare(ask: Ask) -> Ask:
        name = str(getattr(ask, "__name__", "")).replace("_", " ")
        assert name not in SHAPES, f"There are two shapes “{name}”."
        SHAPES[name] = Shape(name, kind, ask, keys or {}, where or {}, carried or {}, extra, pairs)
        return ask

    return declare
