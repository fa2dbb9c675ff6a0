"""What a ledger promises: numbers of many processes, added up exactly once.

A vector is a few numbers, each under an index: the sums and the buckets of one thing that is measured.
A page holds the vectors of one stretch of time, by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Final, NamedTuple

Vector = dict[int, int]

OTHER: Final = "other"
"""Ends the name, after the name's first word, of what a page has no room for."""


class Addition(NamedTuple):
    """What is added to one page.

    Args:
        vectors: By name; the first word of a name ends at its first tab.
        kept_seconds: How long the page is kept after its last addition.
        most: Names that the page has room for, half of them for statements, which may be without end; the vectors
            of others go to `other_name(name)`.
        is_lasting: Whether the page is kept for good: where it has no room, names that nothing was added to on
            this day and the one before are dropped with their numbers. Names that stand for others take no room.
    """

    vectors: Mapping[str, Vector]
    kept_seconds: int
    most: int
    is_lasting: bool = False


class Told(NamedTuple):
    """What one writer tells at once, and may have to tell again.

    Args:
        writer: Who, by a name that nobody else has.
        number: Greater than all before of this writer.
        day: When it is told, in days since 1970; at most one later than when it was told first.
        pages: What is added, by page.
    """

    writer: str
    number: int
    day: int
    pages: Mapping[str, Addition]


class Ledger(ABC):
    """Adds up the numbers of processes; what cannot be reached raises `StoreError`."""

    is_shared: ClassVar[bool]
    """Whether other processes write there too, over something that can fail."""

    @abstractmethod
    def add(self, told: Told) -> bool:
        """Add all of it to its pages, unless it or something later of this writer has been added.

        All of it or nothing, once, however often it is told; the number is remembered for a day at least.

        Returns:
            Whether it was new.
        """

    @abstractmethod
    def read(self, pages: Sequence[str], *, names: Sequence[str] = ()) -> list[dict[str, Vector]]:
        """Return what each of the pages holds, or only the vectors of these names; one round trip."""

    @abstractmethod
    def post(self, board: str, notes: Mapping[str, bytes], *, kept_seconds: int, most: int) -> float:
        """Put notes onto a board, each in the place of one of the same name; one round trip.

        Args:
            most: Names that the board has room for; others are not put up.

        Returns:
            The time in seconds since 1970, by the one clock that all processes see.
        """

    @abstractmethod
    def posted(self, boards: Sequence[str], *, names: Sequence[str] = ()) -> list[dict[str, bytes]]:
        """Return what is on each of the boards, or only the notes of these names; one round trip."""

    def sums(self, groups: Sequence[Sequence[str]], *, names: Sequence[str] = ()) -> list[dict[str, Vector]]:
        """Return what the pages of each group hold together, or only these names' part of it; one round trip."""
        return [added_up(self.read(pages, names=names)) for pages in groups]

    def look(
        self, pages: Sequence[str], boards: Sequence[str]
    ) -> tuple[dict[str, Vector], list[dict[str, bytes]]]:
        """Return what these pages hold together, and all that is on each of these boards; one round trip."""
        return added_up(self.read(pages)), self.posted(boards)

    @abstractmethod
    def take_down(self, board: str, names: Sequence[str]) -> None:
        """Take notes off a board; one round trip."""

    @abstractmethod
    def clear(self, pages: Sequence[str]) -> None:
        """Drop these pages or boards."""


def added_up(pages: Iterable[Mapping[str, Vector]]) -> dict[str, Vector]:
    """Return what pages hold together.

    Example:
        >>> added_up([{"a": {0: 1}, "b": {0: 5}}, {"a": {0: 2, 1: 3}}])
        {'a': {0: 3, 1: 3}, 'b': {0: 5}}
    """
    sums: dict[str, Vector] = {}
    for page in pages:
        for name, vector in page.items():
            add_to(sums.setdefault(name, {}), vector.items())
    return sums


def add_to(sums: Vector, numbers: Iterable[tuple[int, int]]) -> None:
    """Add numbers, each under its index, to a vector."""
    for index, number in numbers:
        sums[index] = sums.get(index, 0) + number


ENDLESS: Final = "statement\t"
"""Begins the names that may take half of a page's room only, so that there is some for all others."""


def room_for(name: str, most: int) -> int:
    """Return how many names there may be on a page where this one still has a place of its own."""
    return most // 2 if name.startswith(ENDLESS) else most


def other_name(name: str) -> str:
    """Return the name that stands for this one where there is no room for it."""
    return f"{name.partition(chr(9))[0]}\t{OTHER}"


def is_other(name: str) -> bool:
    """Say whether a name is one that stands for others."""
    return name.endswith(f"\t{OTHER}")
