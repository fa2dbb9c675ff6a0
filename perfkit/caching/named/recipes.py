"""What all values of one function, page or caller have in common, and where one of them is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, NamedTuple

from perfkit.caching.named.copies import Copies, copies_of
from perfkit.caching.named.packing import packed_value, unpacked_value
from perfkit.caching.tags import databases_of

MOST_GUESSED: Final = 50
"""Tags of what a function has read, kept to take their tokens before it runs again."""

MOST_ENTRIES: Final = 5_000
"""Whose tags are kept, of each function; beyond, all are forgotten and learnt anew."""

REFRESH_SHARE: Final = 0.2
"""Of its time to live, in which a value is made anew before it ends."""


class Codec:
    """How values become bytes and back; a kind, one letter, says of stored bytes what they are."""

    def packed(self, value: Any) -> tuple[str, bytes]:
        """Return the kind and the bytes of a value.

        Raises:
            UnstorableError: It would not come back the same.
        """
        return "v", packed_value(value)

    def unpacked(self, kind: str, payload: bytes) -> Any:
        """Return the value, new down to its lists. Foreign bytes raise one of `entries.FAULTS`."""
        if kind != "v":
            raise ValueError(kind)
        return unpacked_value(payload)

    def copies(self, value: Any, *, entry_bytes: int) -> Copies | None:
        """Return how those who ask get `value` as if it were unpacked anew; None where it has to be.

        Args:
            entry_bytes: Of what it was unpacked from.
        """
        return copies_of(value, entry_bytes=entry_bytes)


class Recipe:
    """What values of one kind have in common.

    Attributes:
        guessed: Tags of what was read the last time, whose tokens are taken before anything is read.
        guessed_databases: Theirs, as tags name them.
        is_all: Whether a request that has found such a value reads nothing more.
        tags_of: All tags of an entry, by its key, as they were the last time.

    Args:
        name: Dotted, of the function; what takes about as long to make has one name.
        sender: Whom `cache_read` is told of.
        ttl_seconds: Says of a value how long it is shown.
        stale_seconds: How long after that, or after it was voided, others get it while one makes it anew.
        refreshes_ahead: Whether one reader has it made anew shortly before it ends.
        records: Whether what is read while it is made becomes tags of it.
        wants: Says of a value whether to keep it.
        needs_tags: Whether a value is shown only where it was kept with the tags that are declared now.
        codec: Makes bytes of it.
    """

    is_all: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        *,
        sender: Any,
        ttl_seconds: Callable[[Any], int],
        stale_seconds: int = 0,
        refreshes_ahead: bool = False,
        records: bool = True,
        wants: Callable[[Any], bool] = lambda value: value is not None,
        needs_tags: bool = True,
        codec: Codec | None = None,
    ) -> None:
        self.name = name
        self.sender = sender
        self.ttl_seconds = ttl_seconds
        self.stale_seconds = stale_seconds
        self.refreshes_ahead = refreshes_ahead
        self.records = records
        self.wants = wants
        self.needs_tags = needs_tags
        self.codec = codec or Codec()
        self.guessed: tuple[str, ...] = ()
        self.guessed_databases: frozenset[str] = frozenset()
        self.tags_of: dict[str, tuple[str, ...]] = {}
        self._void_since: dict[str, float] = {}

    def may_show_stale(self, key: str) -> bool:
        """Say whether what is kept under a key, and was found void, may be shown to those who would wait."""
        if not self.stale_seconds:
            return False
        if len(self._void_since) >= MOST_ENTRIES:
            self._void_since.clear()
        now = time.monotonic()
        return now - self._void_since.setdefault(key, now) <= self.stale_seconds

    def note_tags(self, key: str, tags: tuple[str, ...]) -> None:
        """Keep in mind what an entry depends on; the next one under its key is likely to depend on the same."""
        self._void_since.pop(key, None)
        known = self.tags_of
        if known.get(key) != tags:
            if len(known) >= MOST_ENTRIES:
                known.clear()
            known[key] = tags

    def parts(self, key: str, value: Any) -> Mapping[str, Any]:
        """Return what is kept of a value, by the keys of entries; all depend on the same.

        Args:
            key: Under which it was looked for.
        """
        return {key: value}

    def guess(self, tags: tuple[str, ...]) -> None:
        """Keep in mind what was read; the next one is likely to read the same tables."""
        if not set(tags) <= set(self.guessed):
            tables = [tag for tag in (*tags, *self.guessed) if tag[0] in "ab"]
            self.guessed = tuple(dict.fromkeys(tables))[:MOST_GUESSED]
            self.guessed_databases = databases_of(self.guessed)


class Named(NamedTuple):
    """One named value: where it is.

    Args:
        path: Its key path, for people.
        key: Of its entry.
        tags: What it depends on by its name and by declaration, its own tag first.
    """

    path: str
    key: str
    tags: tuple[str, ...]


def named_key(path: str, context: str) -> str:
    """Return the key of the entry under a path, for what is the same in `context`."""
    return f"v:{context}:{path}"
