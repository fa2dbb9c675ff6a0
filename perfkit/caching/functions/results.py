"""What functions return or raise, as bytes: plain values, declared types, declared errors, signed pickles."""

from __future__ import annotations

import dataclasses
import datetime
import hmac
import pickle  # only what this project has signed, and only where a function asks for it
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, Self, get_type_hints

import msgspec
from django.conf import settings
from django.utils.crypto import salted_hmac

from perfkit.caching.named.packing import packed_value, unpacked_value
from perfkit.caching.named.recipes import Codec
from perfkit.caching.values import UnstorableError

SIGNATURE_BYTES: Final = 32
VALUE, ERROR, TYPED, PICKLE = "v", "e", "t", "k"

_encode: Final = msgspec.msgpack.Encoder().encode


class Raised:
    """An error that a function has raised, kept as its answer."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error

    @classmethod
    def kept(cls, error: Exception, errors: tuple[type[Exception], ...]) -> Self:
        """Return an error that can be kept: of a declared class itself, and made of plain values.

        Others are raised again, as they came.
        """
        if type(error) not in errors or not _comes_back(error):
            raise error
        return cls(error)


class FunctionCodec(Codec):
    """The codec of one function.

    Args:
        name: Dotted, of the function; a signature holds for it alone.
        errors: Classes of what may be kept when it is raised.
        pickles: Whether what is not plain is pickled and signed with `SECRET_KEY`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str,
        errors: tuple[type[Exception], ...],
        pickles: bool,
    ) -> None:
        self._function = function
        self._salt = f"perfkit.cached:{name}"
        self._errors = errors
        self._pickles = pickles

    def packed(self, value: Any) -> tuple[str, bytes]:
        """Return the kind and the bytes of a result.

        Raises:
            UnstorableError: It would not come back the same.
        """
        if isinstance(value, Raised):
            return ERROR, packed_value([self._errors.index(type(value.error)), *value.error.args])
        try:
            return VALUE, packed_value(value)
        except UnstorableError as problem:
            if self._pickles:
                try:
                    payload = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
                except (pickle.PicklingError, AttributeError, TypeError) as error:
                    raise UnstorableError(f"value of type {type(value).__name__}: {error}") from error
                return PICKLE, _signature(self._salt, payload, settings.SECRET_KEY) + payload
            typed = self._typed(value)
            if typed is None:
                raise problem from None
            return TYPED, typed

    def unpacked(self, kind: str, payload: bytes) -> Any:
        """Return the result. Foreign bytes raise one of `entries.FAULTS`."""
        if kind == VALUE:
            return unpacked_value(payload)
        if kind == ERROR:
            index, *arguments = unpacked_value(payload)
            return Raised(self._errors[index](*arguments))
        if kind == TYPED and self._decoder is not None:
            return self._decoder.decode(payload)
        if kind == PICKLE and self._pickles:
            signature, pickled = payload[:SIGNATURE_BYTES], payload[SIGNATURE_BYTES:]
            secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
            if any(hmac.compare_digest(signature, _signature(self._salt, pickled, key)) for key in secrets):
                return pickle.loads(pickled)  # noqa: S301  # signed by this project, for this function
        raise ValueError(kind)

    @cached_property
    def _decoder(self) -> msgspec.msgpack.Decoder[Any] | None:
        """What makes values of the type that the function declares; None where msgspec knows none."""
        try:
            declared = get_type_hints(self._function).get("return")
            return None if declared in {None, Any} else msgspec.msgpack.Decoder(declared)
        except (
            NameError,
            TypeError,
            AttributeError,
        ):  # a name of a block for type checkers alone; another type
            return None

    def _typed(self, value: Any) -> bytes | None:
        """Return a value as the declared type has it, None where that is not all of it."""
        if self._decoder is None:
            return None
        try:
            payload = _encode(value)
            back = self._decoder.decode(payload)
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError):
            return None
        return payload if _is_same(value, back) else None


def _is_same(value: Any, back: Any) -> bool:
    """Say whether two values are one down to the types of their parts, where `==` finds 1 and 1.0 equal."""
    if type(value) is not type(back):
        return False
    parts, others = _parts(value), _parts(back)
    if parts is not None and others is not None:
        return len(parts) == len(others) and all(map(_is_same, parts, others))
    if isinstance(value, datetime.datetime | datetime.time | float | Decimal):
        return repr(value) == repr(back)  # `==` knows no time zones, nor 1.0 from 1.00
    return bool(value == back)


def _parts(value: Any) -> Sequence[Any] | None:
    """Return what a value is made of, in an order; None where it has no parts."""
    if isinstance(value, msgspec.Struct):
        return [getattr(value, name) for name in value.__struct_fields__]
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, dict):
        return list(value.items())
    return sorted(value, key=repr) if isinstance(value, set | frozenset) else None


def _comes_back(error: Exception) -> bool:
    """Say whether an error that is made again of its arguments is the same."""
    try:
        packed_value(list(error.args))
        again = type(error)(*error.args)
    except (UnstorableError, TypeError, ValueError):
        return False
    notes = {"__notes__"}
    same = [{k: v for k, v in vars(each).items() if k not in notes} for each in (error, again)]
    return again.args == error.args and same[0] == same[1]


def _signature(salt: str, payload: bytes, secret: str | bytes) -> bytes:
    return salted_hmac(salt, payload, secret=secret, algorithm="sha256").digest()
