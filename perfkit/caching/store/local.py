"""A store inside this process: the same promises, but only for the readers and writers of one process."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import ClassVar, Final

from perfkit.caching import tokens
from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.named.heads import head_of, tags_in, tokens_in
from perfkit.caching.store.contract import Batch, Put, Recalled, Store, StoredRead, StoreFigures

MOST_BYTES: Final = 64 * 1024 * 1024
MOST_TOKENS: Final = 200_000
MOST_LEASES: Final = 10_000
"""Before more are held, those that have ended are thrown away."""


class _Window:
    """Numbers that are kept together, and the last batch of each who told some."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.end = 0.0
        self._last: dict[str, int] = {}

    def add(self, batch: Batch, *, end: float) -> None:
        if self._last.get(batch.writer, 0) < batch.number:
            self._last[batch.writer] = batch.number
            self.counts.update(batch.counts)
            self.end = end


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
        self._evicted = 0
        self._windows: dict[str, _Window] = {}
        self._clock = clock
        self._started = clock()

    def read(self, key: str, tags: Sequence[str]) -> StoredRead:
        with self._lock:
            now_ms = self._now_ms()
            entry = self._entry(key)
            find = self._token if entry is not None else self._taken
            return StoredRead(entry, tuple(find(tag, now_ms) for tag in tags))

    def entries(self, keys: Sequence[str]) -> tuple[bytes | None, ...]:
        with self._lock:
            return tuple(map(self._entry, keys))

    def tokens(self, tags: Sequence[str]) -> tuple[bytes | None, ...]:
        with self._lock:
            now_ms = self._now_ms()
            return tuple(self._token(tag, now_ms) for tag in tags)

    def take(self, tags: Sequence[str]) -> tuple[bytes, ...]:
        with self._lock:
            now_ms = self._now_ms()
            return tuple(self._taken(tag, now_ms) for tag in tags)

    def fill(self, entries: Mapping[str, bytes], *, ttl_seconds: float) -> None:
        with self._lock:
            self._fill(entries, ttl_seconds=ttl_seconds)

    def recall(self, keys: Sequence[str], wanted: Sequence[str]) -> Recalled:
        with self._lock:
            now_ms = self._now_ms()
            entries = []
            are_current = True
            for key in keys:
                entry = self._entry(key)
                tags = () if entry is None else tags_in(entry)
                found = tuple(self._token(tag, now_ms) for tag in tags)
                are_current = are_current and bool(tags) and tokens_in(entry or b"") == found
                entries.append((entry if tags else None, found))
            taken = () if are_current else tuple(self._taken(tag, now_ms) for tag in wanted)
            return Recalled(tuple(entries), taken)

    def look(self, key: str, tags: Sequence[str]) -> StoredRead:
        with self._lock:
            now_ms = self._now_ms()
            return StoredRead(self._entry(key), tuple(self._token(tag, now_ms) for tag in tags))

    def put(self, entries: Mapping[str, Put], *, ttl_seconds: int) -> None:
        made = {}
        with self._lock:
            now_ms = self._now_ms()
            generation = tokens.new_generation()
            for key, put in entries.items():
                self._keep(put.own_tag, generation, now_ms + tokens.TOKEN_TTL_MS)
                made[key] = head_of(put.tags, [self._taken(tag, now_ms) for tag in put.tags]) + put.body
            self._fill(made, ttl_seconds=ttl_seconds)

    def swap(self, tag: str, token: bytes) -> bytes | None:
        with self._lock:
            now_ms = self._now_ms()
            if self._token(tag, now_ms) != token:
                return None
            generation = tokens.new_generation()
            self._keep(tag, generation, now_ms + tokens.TOKEN_TTL_MS)
            return generation

    def drop(self, keys: Sequence[str]) -> int:
        with self._lock:
            held = [key for key in keys if self._entry(key) is not None]
            for key in held:
                self._drop(key)
            return len(held)

    def find(self, pattern: str) -> Iterator[list[str]]:
        with self._lock:
            keys = list(self._entries)
        yield [key for key in keys if fnmatchcase(key, pattern)]

    def lease(self, name: str, *, lease_ms: int) -> bool:
        with self._lock:
            now_ms = self._now_ms()
            if self._leases.get(name, 0) > now_ms:
                return False
            if len(self._leases) >= MOST_LEASES:
                self._leases = {held: end for held, end in self._leases.items() if end > now_ms}
            self._leases[name] = now_ms + lease_ms
            return True

    def is_leased(self, name: str) -> bool:
        with self._lock:
            return self._leases.get(name, 0) > self._now_ms()

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

    def void_all(self) -> None:
        with self._lock:
            tags = list(self._tokens)
            self._entries.clear()
            self._size_bytes = 0
        self.void(tags)

    def count(self, batch: Batch, *, windows: Mapping[str, int]) -> None:
        with self._lock:
            now = self._clock()
            for name in [name for name, window in self._windows.items() if window.end <= now]:
                del self._windows[name]
            for name, seconds in windows.items():
                self._windows.setdefault(name, _Window()).add(batch, end=now + seconds)

    def counted(self, windows: Sequence[str]) -> dict[str, int]:
        sums: Counter[str] = Counter()
        with self._lock:
            for name in windows:
                window = self._windows.get(name)
                if window is not None and window.end > self._clock():
                    sums.update(window.counts)
        return dict(sums)

    def figures(self, *, counts_keys: bool = False) -> StoreFigures:
        with self._lock:
            return StoreFigures(
                name="",
                used_bytes=self._size_bytes,
                most_bytes=self._most_bytes,
                evicted=self._evicted,
                uptime_seconds=int(self._clock() - self._started),
                keys=len(self._entries) + len(self._tokens),
                own_keys=len(self._entries) + len(self._tokens) if counts_keys else None,
            )

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._tokens.clear()
            self._leases.clear()
            self._windows.clear()
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

    def _fill(self, entries: Mapping[str, bytes], *, ttl_seconds: float) -> None:
        end = self._clock() + ttl_seconds
        for key, entry in entries.items():
            self._drop(key)
            self._entries[key] = (entry, end)
            self._size_bytes += len(key) + len(entry)
        while self._size_bytes > self._most_bytes:
            self._drop(next(iter(self._entries)))
            self._evicted += 1

    def _keep(self, tag: str, token: bytes, end_ms: int) -> None:
        self._tokens[tag] = (token, end_ms)
        self._tokens.move_to_end(tag)
        if len(self._tokens) > self._most_tokens:
            self._tokens.popitem(last=False)

    def _drop(self, key: str) -> None:
        held = self._entries.pop(key, None)
        if held is not None:
            self._size_bytes -= len(key) + len(held[0])
