"""A workload: the statements of one database, each shape once, with how often it ran and how long it took."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

CAPTURE: Final = "capture"
"""A shape that the project's own processes have counted."""

STATISTICS: Final = "pg_stat_statements"
"""A shape that PostgreSQL has counted, whoever sent it."""


@dataclass(frozen=True, slots=True)
class QueryShape:
    """Statements that differ only in their values.

    Attributes:
        fingerprint: The statement without values, as `watching.fingerprint` gives it; it names the shape.
        calls: How often it ran.
        total_seconds: In the database, over all calls.
        samples: Whole statements with the values in them as literals, each a real one, the newest last;
            empty where values are not kept. They can be run as they are.
        callers: Lines of the project that sent it, such as `flights/api.py:88`.
        sources: Who has seen it, `CAPTURE` or `STATISTICS` or both.
        takings: How often these samples were taken of what was sent, the same one again counted too;
            0 where nobody knows, which is each once.
    """

    fingerprint: str
    calls: int
    total_seconds: float
    samples: tuple[str, ...] = field(default=(), repr=False)
    callers: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    takings: int = 0

    @property
    def mean_seconds(self) -> float:
        """Of one call."""
        return self.total_seconds / self.calls if self.calls else 0.0


@dataclass(frozen=True, slots=True)
class Workload:
    """What was sent to one database, the most expensive shape first.

    Attributes:
        alias: Of the database, as in `DATABASES`.
        seconds: How long was listened, None where nobody knows.
    """

    alias: str
    shapes: tuple[QueryShape, ...]
    seconds: float | None = None

    @property
    def calls(self) -> int:
        """Of all shapes."""
        return sum(shape.calls for shape in self.shapes)

    @property
    def total_seconds(self) -> float:
        """Of all shapes."""
        return sum(shape.total_seconds for shape in self.shapes)
