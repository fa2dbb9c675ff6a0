"""A store inside this process: the same promises, but only for the readers and writers of one process."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import ClassVar, Final

from perfkit.caching import tokens
from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.store.contract import Store, StoredRead

MOST_BYTES: Final = 64 * 1024 * 1024
MOST_TOKENS: Final = 200_000
MOST_LEASES: Final = 10_000
"""Before more are held, those that have ended are thrown away."""


class LocalStore(Store):
    """Entries and tokens in dictionaries, the least recently read going first.

    Args:
        most_bytes: Bound on the bytes of all entries, keys included.
        most_tokens: Bound on the tags that have a token; without its token an entry is void.
        clock: Seconds that only grow.
    """

    is_shared: ClassVar[bool] = False

    def __init__(
        self,
        *,
        most_bytes: int = MOST_BYTES,
        most_tokens: int = MOST_TOKENS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = fork_safe_lock()
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._tokens: OrderedDict[str, tuple[bytes, int]] = OrderedDict()
        self._most_bytes = most_bytes
        self._most_tokens = most_tokens
        self._leases: dict[str, int] = {}
        self._size_bytes = 0
        self._clock = clock

    def read(self, key: str, tags: Sequence[str]) -> StoredRead:
        with self._lock:
            now_ms = self._now_ms()
            entry = self._entry(key)
            find = self._token if entry is not None else self._taken
            return StoredRead(entry, tuple(find(tag, now_ms) for tag in tags))

    def tokens(self, tags: Sequence[str]) -> tuple[bytes | None, ...]:
        with self._lock:
            now_ms = self._now_ms()
            return tuple(self._token(tag, now_ms) for tag in tags)

    def take(self, tags: Sequence[str]) -> tuple[bytes, ...]:
        with self._lock:
            now_ms = self._now_ms()
            return tuple(self._taken(tag, now_ms) for tag in tags)

    def fill(self, entries: Mapping[str, bytes], *, ttl_seconds: int) -> None:
        with self._lock:
            end = self._clock() + ttl_seconds
            for key, entry in entries.items():
                self._drop(key)
                self._entries[key] = (entry, end)
                self._size_bytes += len(key) + len(entry)
            while self._size_bytes > self._most_bytes:
                self._drop(next(iter(self._entries)))

    def lease(self, name: str, *, lease_ms: int) -> bool:
        with self._lock:
            now_ms = self._now_ms()
            if self._leases.get(name, 0) > now_ms:
                return False
            if len(self._leases) >= MOST_LEASES:
                self._leases = {held: end for held, end in self._leases.items() if end > now_ms}
            self._leases[name] = now_ms + lease_ms
            return True

    def release(self, name: str) -> None:
        with self._lock:
            self._leases.pop(name, None)

    def mark(self, tags: Sequence[str], *, writer: str) -> None:
        with self._lock:
            now_ms = self._now_ms()
            for tag in tags:
                held = self._token(tag, now_ms)
                lease_ms = tokens.WRITE_LEASE_MS
                self._keep(tag, *tokens.marked(held, writer=writer, now_ms=now_ms, lease_ms=lease_ms))

    def void(self, tags: Sequence[str], *, writers: Collection[str] = ()) -> None:
        with self._lock:
            now_ms = self._now_ms()
            generation = tokens.new_generation()
            for tag in tags:
                held = self._token(tag, now_ms)
                self._keep(tag, *tokens.finished(held, writers=writers, now_ms=now_ms, generation=generation))

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._tokens.clear()
            self._leases.clear()
            self._size_bytes = 0

    def close(self) -> None:
        pass  # there are none

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _token(self, tag: str, now_ms: int) -> bytes | None:
        held = self._tokens.get(tag)
        if held is None:
            return None
        token, end_ms = held
        if end_ms <= now_ms:
            del self._tokens[tag]
            return None
        self._tokens.move_to_end(tag)
        return token

    def _taken(self, tag: str, now_ms: int) -> bytes:
        token = self._token(tag, now_ms)
        if token is None:
            token = tokens.new_generation()
            self._keep(tag, token, now_ms + tokens.TOKEN_TTL_MS)
        return token

    def _entry(self, key: str) -> bytes | None:
        held = self._entries.get(key)
        if held is None:
            return None
        entry, end = held
        if end <= self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def _keep(self, tag: str, token: bytes, end_ms: int) -> None:
        self._tokens[tag] = (token, end_ms)
        self._tokens.move_to_end(tag)
        if len(self._tokens) > self._most_tokens:
            self._tokens.popitem(last=False)

    def _drop(self, key: str) -> None:
        held = self._entries.pop(key, None)
        if held is not None:
            self._size_bytes -= len(key) + len(held[0])
