"""What was looked up of late, in two generations: bounded, and what is in use stays.

New entries go into the young generation. Once that is full it becomes the old one, and what was old is forgotten;
what is found among the old is young again. So half of the room is always there for what is asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Generations(Generic[K, V]):
    """Values by keys, of which those are forgotten that nobody has asked for longest.

    Safe in threads as its two dictionaries are: one thread may undo what another has just put in, and no more.

    Args:
        most: Entries of both generations.

    Attributes:
        young: Whoever looks in here alone looks quickly, and misses what is old.
    """

    def __init__(self, most: int) -> None:
        self._most_young = most // 2
        self.young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self.young.keys() | self._old.keys())

    def __iter__(self) -> Iterator[K]:
        return iter([*self.young, *self._old])

    def get(self, key: K) -> V | None:
        """Return a value, which is young from now on; None where there is none."""
        found = self.young.get(key)
        if found is None:
            old = self._old
            found = old.get(key)
            if found is not None:
                self.put(key, found)
                if self._old is not old and key not in self._old:  # another thread may just have dropped it
                    self.young.pop(key, None)
        return found

    def put(self, key: K, value: V) -> None:
        """Keep a value."""
        if len(self.young) >= self._most_young and key not in self.young:
            self._old, self.young = self.young, {}
        self.young[key] = value

    def drop(self, values: Collection[V]) -> None:
        """Forget all entries that have one of these values."""
        self._old = {key: value for key, value in self._old.copy().items() if value not in values}
        self.young = {key: value for key, value in self.young.copy().items() if value not in values}
