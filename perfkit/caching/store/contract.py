"""What a store of entries and tokens must do; those on servers and the local one all keep this contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

from perfkit.caching.store.packing import Words
from perfkit.caching.store.scripts import ScriptForms

PROBE: Final = "p:probe"
"""A tag that nothing depends on: a full server, or a replica, answers reads and yet can be told nothing."""


class StoredRead(NamedTuple):
    """An entry as stored, if there is one, and the tokens of the tags asked for, None where a tag has none."""

    entry: bytes | None
    tokens: tuple[bytes | None, ...]


class Batch(NamedTuple):
    """Numbers to add up, told by somebody who may have to tell them again.

    Args:
        writer: Who tells them, by a name that nobody else has.
        number: Greater than that of all batches of this writer before.
    """

    writer: str
    number: int
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """What a store tells of itself; None where it does not say.

    Args:
        name: Of the program and its version.
        used_bytes: Memory that it takes, that of others on the same server included.
        most_bytes: Bound on that.
        evicted: Keys that went because there was no more room, since it started.
        expired: Keys that went because their time was over, since it started.
        hits: Keys that were asked for and there, since it started: tokens too, and what others ask for.
        misses: Keys that were asked for and not there, since it started.
        uptime_seconds: How long ago it started.
        keys: All of its keys, those of others in the same database included.
        own_keys: Those of this store alone.
        is_estimate: Whether `own_keys` is taken from a part of all keys.
    """

    name: str
    used_bytes: int
    most_bytes: int | None = None
    evicted: int = 0
    expired: int | None = None
    hits: int | None = None
    misses: int | None = None
    uptime_seconds: int | None = None
    keys: int | None = None
    own_keys: int | None = None
    is_estimate: bool = False


class Recalled(NamedTuple):
    """Named entries as stored, None where there is none, each with the tokens of the tags that it names.

    Args:
        entries: In the order asked for.
        taken: The tokens of the tags that were wanted besides; empty where every entry was made with what its
            tags' tokens still are.
    """

    entries: tuple[tuple[bytes | None, tuple[bytes | None, ...]], ...]
    taken: tuple[bytes, ...]


class Put(NamedTuple):
    """A named entry that is to be stored with tokens as they are at that moment; see `named.entries`.

    Args:
        own_tag: Gets a new generation, so that whoever has what was there before knows that it is void.
        tags: All that it depends on, the own tag first.
        body: What follows the two lines of text.
    """

    own_tag: str
    tags: tuple[str, ...]
    body: bytes


class StoreError(Exception):
    """The store did not answer, or not in time. Its text is shown to people, and has no secret of the settings."""


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
        So without an entry every tag has one.
        """

    @abstractmethod
    def entries(self, keys: Sequence[str]) -> tuple[bytes | None, ...]:
        """Return the entries of `keys`, None where there is none, in the order asked for."""

    @abstractmethod
    def tokens(self, tags: Sequence[str]) -> tuple[bytes | None, ...]:
        """Return the tokens of `tags`, None where a tag has none."""

    @abstractmethod
    def take(self, tags: Sequence[str]) -> tuple[bytes, ...]:
        """Return the tokens of `tags`; a tag without one gets a new generation."""

    @abstractmethod
    def fill(self, entries: Mapping[str, bytes], *, ttl_seconds: float) -> None:
        """Store entries, each with the tokens inside that were taken before its rows were read."""

    def offer(self, key: str, entry: bytes, *, ttl_seconds: float) -> None:
        """Store one entry as `fill` does, without waiting to hear whether it was stored."""
        self.fill({key: entry}, ttl_seconds=ttl_seconds)

    @abstractmethod
    def recall(self, keys: Sequence[str], wanted: Sequence[str]) -> Recalled:
        """Return named entries, and the tokens of the tags that each of them names.

        Where one is missing or void, the tokens of the `wanted` tags too; a tag without one gets a new generation.
        """

    @abstractmethod
    def look(self, key: str, tags: Sequence[str]) -> StoredRead:
        """Return an entry and the tokens of `tags`, as `read` does, and give no tag a token."""

    @abstractmethod
    def put(self, entries: Mapping[str, Put], *, ttl_seconds: int) -> None:
        """Store named entries by key, and void what depends on what was there before."""

    @abstractmethod
    def swap(self, tag: str, token: bytes) -> bytes | None:
        """Give `tag` a new generation if it has this token, and return it; None where it has another."""

    @abstractmethod
    def drop(self, keys: Sequence[str]) -> int:
        """Forget entries; return how many there were. Nobody who holds one of them is told."""

    @abstractmethod
    def find(self, pattern: str) -> Iterator[list[str]]:
        """Yield the keys of entries that match a pattern of `*`, `?` and `[…]`, some at a time.

        Each once or, where others come and go meanwhile, twice.
        """

    @abstractmethod
    def lease(self, name: str, *, lease_ms: int) -> bool:
        """Say whether the caller alone may do what `name` stands for, until it releases it or the time is over."""

    @abstractmethod
    def is_leased(self, name: str) -> bool:
        """Say whether somebody has a lease."""

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

    def probe(self) -> None:
        """Return if the store can be told of every tag."""
        self.void((PROBE,))

    @abstractmethod
    def void_all(self) -> None:
        """Void everything that is stored, under whatever tag.

        Tags with writers in flight stay so, which `clear` would forget. Numbers that were added up stay too.
        As many round trips as there are thousands of keys.
        """

    @abstractmethod
    def count(self, batch: Batch, *, windows: Mapping[str, int]) -> None:
        """Add the numbers of `batch` to those kept in each of `windows`; once, however often they are told.

        Args:
            windows: How many seconds each is kept after the last addition, by name.
        """

    @abstractmethod
    def counted(self, windows: Sequence[str]) -> dict[str, int]:
        """Return the sums of what was added to any of `windows`."""

    @abstractmethod
    def figures(self, *, counts_keys: bool = False) -> StoreFigures:
        """Return what the store tells of itself.

        Args:
            counts_keys: Whether to count this store's own keys, too: in as many round trips as there are thousands
                of keys, though not more than a few, beyond which the number is estimated.
        """

    @abstractmethod
    def clear(self) -> None:
        """Drop everything that this store's prefix holds."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections that nobody uses at this moment; a later call opens others."""


class ScriptedStore(Store):
    """A store on a server, which runs scripts of other rooms too."""

    @abstractmethod
    def run_script(self, script: ScriptForms, keys: Sequence[str], arguments: Words) -> Any:
        """Run a script on keys that outlive the run of the server, and return its answer; one round trip.

        They begin with the prefix alone, so `clear` leaves them, and so does a restart that keeps the data.
        Where the connection breaks before the answer comes, the script may run twice.

        Args:
            keys: All in one slot of a cluster, so with the same text in braces.
        """
