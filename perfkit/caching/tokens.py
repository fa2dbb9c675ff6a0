"""What a tag's token says, as the cache server stores it.

A token is either a random generation (`g` and 16 hex digits) or the writers whose COMMIT is in flight
(`w`, then `writer@end` pairs joined by commas; `end` in milliseconds on the server's clock).
The Lua scripts of the Redis store do the same as the functions here, which serve the store in this process.
One contract suite holds both to it.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Final

WRITE_LEASE_MS: Final = 30_000
"""How long a writer that never reports back keeps its tags out of the cache."""

TOKEN_TTL_MS: Final = 7 * 24 * 3600 * 1000
"""How long an unused token is kept; when it goes, entries made with it are void."""


def new_generation() -> bytes:
    """Return a token that no entry was ever stored with."""
    return b"g" + os.urandom(8).hex().encode()


def new_writer() -> str:
    """Return a writer's id, new for each transaction."""
    return os.urandom(8).hex()


def is_in_flight(token: bytes) -> bool:
    """Say whether a writer of this tag is between MARK and DONE."""
    return token.startswith(b"w")


def marked(token: bytes | None, *, writer: str, now_ms: int, lease_ms: int) -> tuple[bytes, int]:
    """Return the token with `writer` added, and the time its last lease ends; ended writers fall out."""
    writers = {**_writers(token, now_ms), writer: now_ms + lease_ms}
    return _in_flight(writers)


def finished(
    token: bytes | None, *, writers: Collection[str], now_ms: int, generation: bytes
) -> tuple[bytes, int]:
    """Return the token without `writers`, and when it ends; a new generation where none is left."""
    left = {writer: end for writer, end in _writers(token, now_ms).items() if writer not in writers}
    if left:
        return _in_flight(left)
    return generation, now_ms + TOKEN_TTL_MS


def _writers(token: bytes | None, now_ms: int) -> dict[str, int]:
    if token is None or not is_in_flight(token):
        return {}
    pairs = (pair.split("@") for pair in token[1:].decode().split(","))
    return {writer: int(end) for writer, end in pairs if int(end) > now_ms}


def _in_flight(writers: dict[str, int]) -> tuple[bytes, int]:
    text = ",".join(f"{writer}@{end}" for writer, end in writers.items())
    return b"w" + text.encode(), max(writers.values())
