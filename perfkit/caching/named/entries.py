"""The bytes under one named key: a value, the tags it depends on, and their tokens from before it was made.

Two lines of text, which the server's own scripts can read and write, then MessagePack:

    tags, with spaces between
    tokens, likewise, one for each tag
    format, end, moment of refreshing, seconds it took, checksum, kind, payload

The text says of what the value is; the checksum is of the key, the tags and all that follows it.
It finds damage; it is no defence against somebody who may write to the server.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final, NamedTuple

import msgspec

from perfkit.caching.entries import (
    COMPRESS_FROM_BYTES,
    FAULTS,
    LARGEST_ENTRY_BYTES,
    LARGEST_PAYLOAD_BYTES,
    inflated,
)
from perfkit.caching.named.heads import tags_line
from perfkit.caching.values import UnstorableError

FORMAT: Final = 1
_times: Final = struct.Struct("<dddB")
_encode: Final = msgspec.msgpack.Encoder().encode


class NamedEntry(NamedTuple):
    """A value as it is kept.

    Args:
        kind: What the payload is, a letter that its reader knows.
        payload: The value.
        tags: What it depends on.
        ends: When it is no longer to be shown, in seconds since 1970.
        refresh_at: When one reader shall make it anew, likewise; `ends` where none shall.
        made_seconds: How long it took to make.
    """

    kind: str
    payload: bytes
    tags: tuple[str, ...]
    ends: float
    refresh_at: float
    made_seconds: float


class _Body(msgspec.Struct, array_like=True, frozen=True, gc=False):
    format: int
    ends: float
    refresh_at: float
    made_seconds: float
    checksum: int
    kind: str
    is_compressed: bool
    payload: memoryview


_decoder: Final = msgspec.msgpack.Decoder(_Body)


def body_of(key: str, entry: NamedEntry) -> bytes:
    """Return what follows the two lines of text.

    Raises:
        UnstorableError: It would be larger than `LARGEST_ENTRY_BYTES` ("size").
    """
    payload, is_compressed = entry.payload, False
    if len(payload) > LARGEST_PAYLOAD_BYTES:
        raise UnstorableError("size")
    if len(payload) >= COMPRESS_FROM_BYTES:
        smaller = zlib.compress(payload, 1)
        if len(smaller) <= len(payload) * 0.9:
            payload, is_compressed = smaller, True
    times = (entry.ends, entry.refresh_at, entry.made_seconds)
    checksum = _checksum(_seed(key, tags_line(entry.tags), entry.kind), times, payload, is_compressed)
    body = _encode(_Body(FORMAT, *times, checksum, entry.kind, is_compressed, memoryview(payload)))
    if len(body) > LARGEST_ENTRY_BYTES:
        raise UnstorableError("size")
    return body


def decoded_entry(key: str, stored: bytes) -> NamedEntry | None:
    """Return what is kept, whatever has become of its tokens; None where it is damaged or no entry."""
    tags_line, _, rest = stored.partition(b"\n")
    try:
        tags = tuple(tags_line.decode().split(" "))
    except UnicodeDecodeError:
        return None
    return decoded_body(key, tags, rest.partition(b"\n")[2])


def decoded_body(key: str, tags: tuple[str, ...], body: bytes) -> NamedEntry | None:
    """Return what is kept, of what follows the two lines of text; None where it is damaged."""
    try:
        held = _decoder.decode(body)
        times = (held.ends, held.refresh_at, held.made_seconds)
        seed = _seed(key, tags_line(tags), held.kind)
        checksum = _checksum(seed, times, held.payload, held.is_compressed)
        if held.format != FORMAT or held.checksum != checksum:
            return None
        payload = inflated(held.payload) if held.is_compressed else bytes(held.payload)
        return NamedEntry(held.kind, payload, tags, *times)
    except FAULTS:
        return None


def _seed(key: str, tags: bytes, kind: str) -> int:
    return zlib.crc32(b"%b\n%b\n%b\n" % (key.encode(), tags, kind.encode()))


def _checksum(
    seed: int, times: tuple[float, float, float], payload: bytes | memoryview, is_compressed: bool
) -> int:
    return zlib.crc32(payload, zlib.crc32(_times.pack(*times, is_compressed), seed))
