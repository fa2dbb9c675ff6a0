"""Stretches of the past, in parts, by which numbers are kept."""

from __future__ import annotations

from typing import NamedTuple


class Window(NamedTuple):
    """A stretch of the past that ends now, as the store keeps it.

    Args:
        letter: Begins the names of its parts.
        part_seconds: How long each part is.
        parts: How many of them, the one that has begun included.
    """

    letter: str
    part_seconds: int
    parts: int

    def part(self, seconds: float) -> int:
        """Return the number of the part that a time is in."""
        return int(seconds // self.part_seconds)

    def name(self, part: int) -> str:
        """Return what the store calls a part."""
        return f"{self.letter}{part}"

    @property
    def kept_seconds(self) -> int:
        """How long the store keeps a part."""
        return (self.parts + 1) * self.part_seconds
