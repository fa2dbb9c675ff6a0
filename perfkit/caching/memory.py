"""The tier inside the process: what was read from the cache server, beside the tokens it was made with.

It saves the way to the server, not the question whether it still holds: see `scope` for who asks that, and when.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any, Final, NamedTuple

from perfkit.caching.locks import fork_safe_lock
from perfkit.conf import options

Tokens = tuple[bytes | None, ...]

OBJECT_BYTES: Final = 4
"""Bytes in the process for each byte of an entry: what decoded values take, measured on rows of many types."""


class Held(NamedTuple):
    """What nobody can change, so that all readers may share it: rows of values, or a named value.

    Args:
        tokens: That it was made with.
        content: Itself; who asks for a key knows what it is.
    """

    tokens: Tokens
    content: Any
    size_bytes: int
    until: float


class Memory:
    """Contents by key, the least recently read going first; safe in threads and after a fork."""

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

    def put(self, key: str, tokens: Tokens, content: Any, *, size_bytes: int, seconds: float) -> None:
        """Hold something for so long, and let go of others where all would be more than `CACHE_MEMORY_BYTES`.

        Args:
            size_bytes: That it takes, about; `OBJECT_BYTES` for each byte of an entry where it was decoded.
        """
        size_bytes += len(key)
        most_bytes = options.CACHE_MEMORY_BYTES
        if size_bytes > most_bytes or not seconds > 0:  # no number is not more than 0 either
            return
        with self._lock:
            self._drop(key)
            self._held[key] = Held(tokens, content, size_bytes, time.monotonic() + seconds)
            self._size_bytes += size_bytes
            while self._size_bytes > most_bytes:
                self._drop(next(iter(self._held)))

    def drop(self, key: str) -> None:
        """Let go of what is held under `key`."""
        with self._lock:
            self._drop(key)

    @property
    def size_bytes(self) -> int:
        """What all of it takes, about."""
        return self._size_bytes

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
