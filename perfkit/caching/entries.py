"""The bytes under one key of the cache: rows, and the tokens taken before they were read.

An entry is MessagePack: the format's number, the tokens, a checksum, the signature of the columns, the rows.
Foreign bytes are a miss and can never run code.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from perfkit.caching.values import UnstorableError, packed, row_decoder

__all__ = ["LARGEST_ENTRY_BYTES", "UnstorableError", "decoded", "encoded", "facts_of"]

FORMAT: Final = 3
"""Number of this layout; entries of another one are misses."""

LARGEST_ENTRY_BYTES: Final = 1_000_000

LARGEST_PAYLOAD_BYTES: Final = 4_000_000
"""Most bytes of rows before compression: no entry, whoever wrote it, makes a reader hold more."""

COMPRESS_FROM_BYTES: Final = 262_144
"""Smaller payloads stay as they are: on a fast network, inflating takes a reader longer than it saves."""

SAMPLED_FROM_ROWS: Final = 10_000
SAMPLED_ROWS: Final = 500
"""Of an answer with very many rows, packed first to see how large it would be."""

SURPLUS: Final = 3
"""How many times too large the sample must say it is; the first rows may be larger than others."""

_COMPRESSED: Final = "~"
"""Stands before the signature of a compressed payload."""

FAULTS: Final = (
    msgspec.MsgspecError,
    zlib.error,
    ValueError,  # no signature, no UTF-8, no zone, no range
    TypeError,
    ArithmeticError,  # no number
    LookupError,  # no letter, no tag, no zone
    AttributeError,  # a pickled class that is gone
    ImportError,
    OSError,  # a zone's name that is a folder of tzdata's
    RecursionError,
)
"""What reading foreign bytes may raise."""


class _Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The payload is a view into the entry's bytes, not a copy.

    The checksum is of the signature, the end and the payload.
    It finds damage; it is no defence against somebody who may write to the server.
    """

    format: int
    tokens: tuple[bytes | None, ...]
    ends: float
    checksum: int
    signature: str
    payload: memoryview


class _Shape(NamedTuple):
    """What a signature says about reading its payload; `seed` is the checksum of the signature."""

    decoder: msgspec.msgpack.Decoder[list[tuple[Any, ...]]]
    is_compressed: bool
    seed: int


_ends: Final = struct.Struct("<d")
_encoder: Final = msgspec.msgpack.Encoder()
_entry_decoder: Final = msgspec.msgpack.Decoder(_Entry)


def encoded(rows: Sequence[Sequence[Any]], tokens: tuple[bytes | None, ...], *, ends: float = 0.0) -> bytes:
    """Return the entry that keeps `rows`, as the database's driver gave them, under `tokens`.

    Args:
        ends: When it shall be forgotten, in seconds since 1970; the server keeps its own time of it.

    Raises:
        UnstorableError: A value would not come back the same ("value of type ..."), or the entry would be
            larger than `LARGEST_ENTRY_BYTES` ("size").
    """
    if len(rows) > SAMPLED_FROM_ROWS:
        sampled_bytes = len(packed(rows[:SAMPLED_ROWS])[1])
        if sampled_bytes * len(rows) > SAMPLED_ROWS * SURPLUS * LARGEST_PAYLOAD_BYTES:
            raise UnstorableError("size")  # so far beyond that packing all of it would be in vain
    signature, payload = packed(rows)
    if len(payload) > LARGEST_PAYLOAD_BYTES:
        raise UnstorableError("size")
    if len(payload) >= COMPRESS_FROM_BYTES:
        smaller = zlib.compress(payload, 1)
        if len(smaller) <= len(payload) * 0.9:
            signature, payload = _COMPRESSED + signature, smaller
    checksum = zlib.crc32(payload, zlib.crc32(_ends.pack(ends), zlib.crc32(signature.encode())))
    entry = _encoder.encode(_Entry(FORMAT, tokens, ends, checksum, signature, memoryview(payload)))
    if len(entry) > LARGEST_ENTRY_BYTES:
        raise UnstorableError("size")
    return entry


def decoded(entry: bytes, tokens: tuple[bytes | None, ...]) -> list[tuple[Any, ...]] | None:
    """Return the rows, each made anew down to its lists, or None where `entry` does not hold them.

    That is one made with other tokens, of another format, damaged, or no entry at all; nothing is raised.
    """
    try:
        held = _entry_decoder.decode(entry)
        if held.format != FORMAT or held.tokens != tokens:
            return None
        shape = _shape(held.signature)
        if held.checksum != zlib.crc32(held.payload, zlib.crc32(_ends.pack(held.ends), shape.seed)):
            return None
        payload = inflated(held.payload) if shape.is_compressed else held.payload
        return shape.decoder.decode(payload)
    except FAULTS:
        return None


def held_until(entry: bytes, tokens: tuple[bytes | None, ...]) -> float:
    """Return when `entry` ends, in seconds since 1970; 0 where it was made with other tokens or is damaged."""
    try:
        held = _entry_decoder.decode(entry)
        if held.format != FORMAT or held.tokens != tokens:
            return 0.0
        seed = zlib.crc32(_ends.pack(held.ends), _shape(held.signature).seed)
        return held.ends if held.checksum == zlib.crc32(held.payload, seed) else 0.0
    except FAULTS:
        return 0.0


def shareable_until(entry: bytes) -> float | None:
    """Return when an entry that was just decoded ends, None where who gets its rows could change them."""
    held = _entry_decoder.decode(entry)
    signature = held.signature.removeprefix(_COMPRESSED)
    return None if "x" in signature or signature != signature.lower() else held.ends


class EntryFacts(NamedTuple):
    """What an entry says of itself, whoever made it.

    Args:
        tokens: Its key, and the tokens that it was made with.
        ends: When it shall be forgotten, in seconds since 1970.
    """

    tokens: tuple[bytes | None, ...]
    ends: float
    is_compressed: bool


def facts_of(entry: bytes) -> EntryFacts | None:
    """Return what `entry` says of itself, None where it is none of this format."""
    try:
        held = _entry_decoder.decode(entry)
    except FAULTS:
        return None
    if held.format != FORMAT:
        return None
    return EntryFacts(held.tokens, held.ends, held.signature.startswith(_COMPRESSED))


@lru_cache(maxsize=512)
def _shape(signature: str) -> _Shape:
    """Return what is known of `signature`; a decoder takes far longer to build than to use."""
    decoder = row_decoder(signature.removeprefix(_COMPRESSED))
    return _Shape(decoder, signature.startswith(_COMPRESSED), zlib.crc32(signature.encode()))


def inflated(payload: memoryview) -> bytes:
    """Return the payload as it was before compression; one that does not end within the limit is damaged."""
    inflater = zlib.decompressobj()
    inflated = inflater.decompress(payload, LARGEST_PAYLOAD_BYTES + 1)
    if not inflater.eof or inflater.unused_data or len(inflated) > LARGEST_PAYLOAD_BYTES:
        raise zlib.error
    return inflated
