"""Column values as typed MessagePack: which are kept exactly, and how each is written and read back.

Each column of a result has a letter, found from the exact types of its values; the letters of all columns
are the signature, from which a decoder is built that makes the typed rows in C:

- a lower-case letter of `_LETTERS`: values of that one type, and NULL;
- `p`: plain values, such as SQLite mixes in one column, that MessagePack itself tells apart;
- the same letters in upper case: arrays of such values, one level deep;
- `x`: anything else that is known (nested arrays, JSON, ranges, other time zones), tagged value by value.

A tag is a MessagePack extension whose code is a letter, and whose data is the value as in a typed column.
Only exact types are kept; a subclass (a lazy string, say) would come back as its base.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

try:
    from psycopg.types.range import Range
except ImportError:  # a project on SQLite alone
    Range = None  # type: ignore[assignment,misc]

MOST_COLUMNS: Final = 1_664
"""PostgreSQL returns no more; it bounds the decoder that a signature from the network may ask for."""

_LETTERS: Final[dict[type, str]] = {
    bool: "b",
    int: "i",
    float: "f",
    str: "s",
    bytes: "y",
    Decimal: "n",
    uuid.UUID: "u",
    datetime.date: "d",
    datetime.time: "t",
    datetime.datetime: "m",
    datetime.timedelta: "v",
}
_PLAIN: Final = frozenset({bool, int, float, str, bytes, type(None)})
_MOMENTS: Final = frozenset({datetime.time, datetime.datetime})

_COLUMN_TYPES: Final[dict[str, Any]] = {
    "x": Any,
    **{letter: kind | None for kind, letter in _LETTERS.items()},
    **{letter.upper(): list[kind | None] | None for kind, letter in _LETTERS.items()},  # type: ignore[valid-type]
    "p": Any,
    "P": list[Any] | None,
}
_ZONED_TIME, _ZONED_DATETIME, _RANGE = map(ord, "Zzr")

_encode: Final = msgspec.msgpack.Encoder(uuid_format="bytes").encode


class UnstorableError(Exception):
    """A result cannot be kept, for the reason it names; it stays within the room.

    Raised before anything is stored.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


# --- to bytes


def packed(rows: Sequence[Sequence[Any]]) -> tuple[str, bytes]:
    """Return the signature of `rows`, which must be of one width, and the bytes of their values.

    Raises:
        UnstorableError: A value would not come back the same, or there are too many columns.
    """
    try:
        columns = list(zip(*rows, strict=True))
        if len(columns) > MOST_COLUMNS:
            raise UnstorableError("size")
        signature = "".join(map(_letter, columns))
        if "x" in signature:
            rows = list(
                zip(
                    *(
                        map(_tagged, column) if letter == "x" else column
                        for letter, column in zip(signature, columns, strict=True)
                    ),
                    strict=True,
                )
            )
        return signature, _encode(rows)
    except OverflowError as error:  # beyond 64 bits
        raise UnstorableError("value of type int") from error
    except UnicodeEncodeError as error:  # a lone surrogate
        raise UnstorableError("value of type str") from error
    except RecursionError as error:
        raise UnstorableError("value nested too deeply") from error


def _letter(column: Iterable[Any]) -> str:
    kinds = set(map(type, column))
    if kinds <= _PLAIN:
        kinds.discard(type(None))
        return _LETTERS[kinds.pop()] if len(kinds) == 1 else "p"
    kinds.discard(type(None))
    kind = kinds.pop()
    if kinds:
        return "x"
    if kind is list:
        letter = _letter(list(chain.from_iterable(array for array in column if array is not None)))
        return letter.upper() if letter.islower() and letter != "x" else "x"
    if kind in _MOMENTS and not all(map(_is_simple_moment, column)):
        return "x"
    return _LETTERS.get(kind, "x")


def _is_simple_moment(moment: datetime.datetime | datetime.time | None) -> bool:
    """Say whether MessagePack keeps its zone and fold: naive, or a datetime in UTC."""
    if moment is None:
        return True
    zone = moment.tzinfo
    return not moment.fold and (zone is None or (zone is datetime.UTC and type(moment) is datetime.datetime))


def _tagged(value: Any) -> Any:
    """Return `value` as what MessagePack tells apart by itself, with tags where it does not."""
    kind = type(value)
    if kind is list:
        return [_tagged(part) for part in value]
    if kind is dict and all(type(key) is str for key in value):
        return {key: _tagged(part) for key, part in value.items()}
    if kind is Range:
        bounds = (tagged_scalar(value.lower), tagged_scalar(value.upper), value.bounds)
        return msgspec.msgpack.Ext(_RANGE, _encode(bounds))
    return tagged_scalar(value)


def tagged_scalar(value: Any) -> Any:
    """Return a value that is no collection as what MessagePack tells apart; raise UnstorableError of others."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind in _MOMENTS and not _is_simple_moment(value):
        code = _ZONED_TIME if kind is datetime.time else _ZONED_DATETIME
        wall = value.replace(tzinfo=None, fold=0)
        return msgspec.msgpack.Ext(code, _encode((wall, value.fold, _zone_name(value))))
    letter = _LETTERS.get(kind)
    if letter is None:
        raise UnstorableError(f"value of type {kind.__name__}")
    return msgspec.msgpack.Ext(ord(letter), _encode(value))


def _zone_name(moment: datetime.datetime | datetime.time) -> str | int | None:
    """Return what `_zone` makes the same zone from: a name, or the microseconds of a fixed offset."""
    zone = moment.tzinfo
    if zone is None:
        return None
    if type(zone) is ZoneInfo and zone.key and ZoneInfo(zone.key) is zone:
        return zone.key
    if type(zone) is datetime.timezone:
        microseconds = zone.utcoffset(None) // datetime.timedelta.resolution
        if repr(_zone(microseconds)) == repr(zone):  # one with a name of its own differs
            return microseconds
    raise UnstorableError(f"value of type {type(moment).__name__} in a zone of type {type(zone).__name__}")


# --- from bytes


def row_decoder(signature: str) -> msgspec.msgpack.Decoder[list[tuple[Any, ...]]]:
    """Return what decodes rows of this signature.

    Raises:
        ValueError: It has more columns than any result.
        KeyError: It is no signature.
    """
    if len(signature) > MOST_COLUMNS:
        raise ValueError(signature)
    columns = tuple(_COLUMN_TYPES[letter] for letter in signature)
    return msgspec.msgpack.Decoder(list[tuple[columns]], ext_hook=untagged)  # type: ignore[valid-type]


_decode_by_code: Final[dict[int, Callable[[memoryview], Any]]] = {
    ord(letter): msgspec.msgpack.Decoder(kind).decode for kind, letter in _LETTERS.items()
}
_decode_zoned: Final[dict[int, Callable[[memoryview], tuple[Any, int, str | int | None]]]] = {
    _ZONED_TIME: msgspec.msgpack.Decoder(tuple[datetime.time, int, str | int | None]).decode,
    _ZONED_DATETIME: msgspec.msgpack.Decoder(tuple[datetime.datetime, int, str | int | None]).decode,
}


def _untagged_scalar(code: int, data: memoryview) -> Any:
    decode = _decode_by_code.get(code)
    if decode is not None:
        return decode(data)
    wall, fold, zone = _decode_zoned[code](data)
    return wall.replace(tzinfo=_zone(zone), fold=fold)


# A range holds no range, so that foreign bytes cannot nest them.
_decode_bounds: Final = msgspec.msgpack.Decoder(tuple[Any, Any, str], ext_hook=_untagged_scalar).decode


def untagged(code: int, data: memoryview) -> Any:
    """Return what an extension stands for; a code that is none raises KeyError."""
    if code != _RANGE:
        return _untagged_scalar(code, data)
    lower, upper, bounds = _decode_bounds(data)
    return Range(lower, upper, bounds, empty=not bounds)


def _zone(name: str | int | None) -> datetime.tzinfo | None:
    if isinstance(name, int):
        return datetime.timezone(datetime.timedelta(microseconds=name))
    return None if name is None else ZoneInfo(name)
