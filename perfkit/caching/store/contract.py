"""What a store of entries and tokens must do; the Redis store and the local one both keep this contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, NamedTuple


class StoredRead(NamedTuple):
    """An entry as stored, if there is one, and the tokens of the tags asked for, None where a tag has none.

    Without an entry every tag has one.
    """

    entry: bytes | None
    tokens: tuple[bytes | None, ...]


class StoreError(Exception):
    """The store did not answer, or not in time. Never leaves the caching room."""


class Store(ABC):
    """Entries by key and tokens by tag.

    Every method is one round trip, however many tags, and raises `StoreError` where the server fails.
    """

    is_shared: ClassVar[bool]
    """Whether other processes see the same store, over something that can fail."""

    @abstractmethod
    def read(self, key: str, tags: Sequence[str]) -> StoredRead:
        """Return the entry of `key` and the tokens of `tags`, as they were at one moment.

        Where there is no entry, a tag without a token gets a new generation: whoever asks is about to fill.
        """

    @abstractmethod
    def tokens(self, tags: Sequence[str]) -> tuple[bytes | None, ...]:
        """Return the tokens of `tags`, None where a tag has none."""

    @abstractmethod
    def take(self, tags: Sequence[str]) -> tuple[bytes, ...]:
        """Return the tokens of `tags`; a tag without one gets a new generation."""

    @abstractmethod
    def fill(self, entries: Mapping[str, bytes], *, ttl_seconds: int) -> None:
        """Store entries, each with the tokens inside that were taken before its rows were read."""

    def offer(self, key: str, entry: bytes, *, ttl_seconds: int) -> None:
        """Store one entry as `fill` does, without waiting to hear whether it was stored."""
        self.fill({key: entry}, ttl_seconds=ttl_seconds)

    @abstractmethod
    def lease(self, name: str, *, lease_ms: int) -> bool:
        """Say whether the caller alone may do what `name` stands for, until it releases it or the time is over."""

    @abstractmethod
    def release(self, name: str) -> None:
        """End a lease."""

    @abstractmethod
    def mark(self, tags: Sequence[str], *, writer: str) -> None:
        """Say that `writer` is about to commit: until DONE, nobody trusts or fills what depends on `tags`."""

    def done(self, tags: Sequence[str], *, writer: str) -> None:
        """Say that `writer` has committed: everything stored before under `tags` is void."""
        self.void(tags, writers=(writer,))

    @abstractmethod
    def void(self, tags: Sequence[str], *, writers: Collection[str] = ()) -> None:
        """Void everything stored under `tags`, and forget that `writers` are about to commit.

        A tag with other writers in flight stays so: it is void when they are done or their leases end.
        """

    @abstractmethod
    def clear(self) -> None:
        """Drop everything that this store's prefix holds."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections that nobody uses at this moment; a later call opens others."""
