"""Where an answer is in the cache, and what it depends on."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from perfkit.caching.memory import Tokens

Rows = Sequence[Sequence[Any]]


class Place(NamedTuple):
    """Where an answer is in the cache, and what it depends on.

    Args:
        key: Of its entry.
        tags: What an answer without rows depends on: a row that is made later would be in it.
        lasting: How many of the tags, from the first, an answer with rows depends on.
        family: What takes about as long to compute.
    """

    key: str
    tags: tuple[str, ...]
    lasting: int
    family: Hashable

    def tags_of(self, rows: Rows) -> tuple[str, ...]:
        """Return the tags that an answer of these rows depends on."""
        return self.tags[: self.lasting] if rows else self.tags


def stamp(key: str, found: Tokens) -> Tokens:
    """Return what an entry must hold to be trusted: its own key, for it may have been copied, and the tokens."""
    return (key.encode(), *found)
