"""Decides what to do about an index, from what is there; touches nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice

from perfkit.postgres.catalogue import IndexShape, IndexState

LONGEST_PAUSE_SECONDS = 30.0


class Step(Enum):
    """What to do next to have a valid index of the wanted shape."""

    BUILD = auto()
    REBUILD = auto()
    KEEP = auto()
    WAIT = auto()
    REFUSE = auto()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for locks and for statements, and how often.

    Args:
        lock_timeout_seconds: Longest wait for one lock, or for one older transaction to end.
        statement_timeout_seconds: Longest time for one statement, a whole build for example; None is no end.
        attempts: At least 1.
        pause_seconds: After the first attempt; doubles after each, up to half a minute.
    """

    lock_timeout_seconds: float = 30.0
    statement_timeout_seconds: float | None = None
    attempts: int = 5
    pause_seconds: float = 1.0

    def __post_init__(self) -> None:
        if not self.lock_timeout_seconds > 0:
            raise ValueError(f"lock_timeout_seconds must be more than 0, not {self.lock_timeout_seconds!r}.")
        if self.statement_timeout_seconds is not None and not self.statement_timeout_seconds > 0:
            raise ValueError(
                f"statement_timeout_seconds must be more than 0 or None, not {self.statement_timeout_seconds!r}."
            )
        if not self.attempts >= 1:
            raise ValueError(f"attempts must be at least 1, not {self.attempts!r}.")

    @property
    def lock_timeout(self) -> str:
        """The timeout as PostgreSQL's SET takes it; never "0ms", which would mean without end."""
        return _milliseconds(self.lock_timeout_seconds)

    @property
    def statement_timeout(self) -> str:
        """The timeout as PostgreSQL's SET takes it, "0" for none."""
        seconds = self.statement_timeout_seconds
        return "0" if seconds is None else _milliseconds(seconds)

    def pauses(self) -> Iterator[float]:
        """Yield the seconds to wait before each attempt; the first is 0."""
        yield 0.0
        pause = self.pause_seconds
        for _ in islice(range(self.attempts), 1, None):
            yield min(pause, LONGEST_PAUSE_SECONDS)
            pause *= 2


def next_step(there: IndexState | None, wanted: IndexShape | None) -> Step:
    """Return what to do about an index of which the catalogue says `there`.

    Args:
        there: None where no index has the name.
        wanted: The shape to have; only compared where a valid index is there.
    """
    if there is None:
        return Step.BUILD
    if not there.is_on_table:
        return Step.REFUSE
    if there.is_valid:
        return Step.KEEP if there.shape == wanted else Step.REFUSE
    return Step.WAIT if there.builder_pid else Step.REBUILD


def _milliseconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
