"""The tier inside the process: rows that were read from the cache server, beside the tokens they were made with.

It saves the way of the rows, not the question whether they still hold: see `scope` for who asks that, and when.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any, Final, NamedTuple

from perfkit.caching.locks import fork_safe_lock
from perfkit.conf import options

Rows = list[tuple[Any, ...]]
Tokens = tuple[bytes | None, ...]

OBJECT_BYTES: Final = 4
"""Bytes in the process for each byte of an entry: what decoded values take, measured on rows of many types."""


class Held(NamedTuple):
    """Rows of values that nobody can change, so that all readers may share them."""

    tokens: Tokens
    rows: Rows
    size_bytes: int
    until: float


class Memory:
    """Rows by key, the least recently read going first; safe in threads and after a fork."""

    def __init__(self) -> None:
        self._lock = fork_safe_lock()
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._size_bytes = 0

    def get(self, key: str) -> Held | None:
        """Return what is held under `key`."""
        held = self._held.get(key)
        if held is None or held.until <= time.monotonic():
            return None
        try:
            self._held.move_to_end(key)
        except KeyError:  # another thread has just dropped it
            return None
        return held

    def put(self, key: str, tokens: Tokens, rows: Rows, *, entry_bytes: int, seconds: float) -> None:
        """Hold rows for so long, and let go of others where all would be more than `CACHE_MEMORY_BYTES`."""
        size_bytes = OBJECT_BYTES * entry_bytes + len(key)
        most_bytes = options.CACHE_MEMORY_BYTES
        if size_bytes > most_bytes or not seconds > 0:  # no number is not more than 0 either
            return
        with self._lock:
            self._drop(key)
            self._held[key] = Held(tokens, rows, size_bytes, time.monotonic() + seconds)
            self._size_bytes += size_bytes
            while self._size_bytes > most_bytes:
                self._drop(next(iter(self._held)))

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._held.clear()
            self._size_bytes = 0

    def _drop(self, key: str) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self._size_bytes -= held.size_bytes


memory: Final = Memory()
