"""Rows and entries as bytes: typed MessagePack, so that foreign bytes are a miss and can never run code.

A row is the tuple of its column values, in the order of the model's concrete fields.
Only exact types are stored; a subclass (a lazy string, say) would come back as its base.
"""

from __future__ import annotations

import datetime
import hashlib
import zlib
from functools import cache
from typing import Any, Final

import msgspec
from django.db.models import Model

from perfkit.caching.columns import column_names, python_type

FORMAT: Final = 2
"""Number of this layout; entries of another one are misses."""

LARGEST_ENTRY_BYTES: Final = 1_000_000


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """What is stored under one key: the layout's number, the tokens taken before the row was read, and it.

    The checksum finds damage; it is no defence against somebody who may write to the server.
    """

    format: int
    tokens: tuple[bytes, ...]
    checksum: int
    row: msgspec.Raw


_encoder: Final = msgspec.msgpack.Encoder()
_entry_decoder: Final = msgspec.msgpack.Decoder(Entry)


class RowCodec:
    """Encodes the rows of one model.

    Args:
        model: Its concrete fields must all be supported, see `unsupported_field`.
    """

    def __init__(self, model: type[Model]) -> None:
        fields = model._meta.concrete_fields
        types = [python_type(field) for field in fields]
        self._allowed = [{kind, type(None)} for kind in types]
        self._decoder = msgspec.msgpack.Decoder(tuple[tuple(kind | None for kind in types)])  # type: ignore[misc]
        shape = ",".join(
            f"{name}:{kind.__name__}" for name, kind in zip(column_names(model), types, strict=True)
        )
        self.fingerprint = hashlib.sha256(f"{FORMAT};{model._meta.db_table};{shape}".encode()).hexdigest()[
            :12
        ]

    def encode(self, row: tuple[Any, ...], tokens: tuple[bytes, ...]) -> bytes | None:
        """Return the entry, or None where a value is not of its column's exact type, or it is too large."""
        for value, allowed in zip(row, self._allowed, strict=True):
            if type(value) not in allowed or not _survives(value):
                return None
        try:
            encoded = _encoder.encode(row)
            entry = _encoder.encode(Entry(FORMAT, tokens, zlib.crc32(encoded), msgspec.Raw(encoded)))
        except (OverflowError, UnicodeEncodeError):  # an int beyond 64 bits; a lone surrogate
            return None
        return entry if len(entry) <= LARGEST_ENTRY_BYTES else None

    def decode(self, entry: bytes, tokens: tuple[bytes | None, ...]) -> tuple[Any, ...] | None:
        """Return the row, or None where the entry was made with other tokens or is no entry at all."""
        try:
            held = _entry_decoder.decode(entry)
            if held.format != FORMAT or held.tokens != tokens or held.checksum != zlib.crc32(held.row):
                return None
            return self._decoder.decode(held.row)  # type: ignore[no-any-return]
        except (msgspec.DecodeError, UnicodeDecodeError, OverflowError, RecursionError):
            return None


@cache
def codec_for(model: type[Model]) -> RowCodec:
    """Return the codec of `model`, made once."""
    return RowCodec(model)


def _survives(value: Any) -> bool:
    """Say whether `value` comes back the same: a datetime keeps its zone only where that is UTC or none."""
    if type(value) is datetime.datetime:
        return (value.tzinfo is None or value.tzinfo is datetime.UTC) and not value.fold
    if type(value) is datetime.time:
        return value.tzinfo is None and not value.fold
    return True
