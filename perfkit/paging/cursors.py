"""Cursors: the place of a row, as text that only this project can make.

A cursor holds for one order of one list. It is signed with `SECRET_KEY`, so nobody can ask by one for what no page
has shown; it is not secret, and holds the values that the rows are sorted by.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.core import signing
from django.utils.crypto import salted_hmac
from django.utils.encoding import force_bytes

from perfkit.caching.named.packing import packed_value, unpacked_value
from perfkit.errors import CursorError
from perfkit.paging.keys import SortKey

VERSION: Final = 1
LONGEST_CURSOR: Final = 4_000
"""Characters; no server takes much longer addresses."""


class Place(NamedTuple):
    """Where a page begins.

    Args:
        is_backward: Whether the page stands before it.
        values: Of the keys, of the row at its edge; None at the end of the list.
    """

    is_backward: bool
    values: tuple[Any, ...] | None


def cursor_of(place: Place, *, fingerprint: str) -> str:
    """Return the cursor of a place.

    Raises:
        UnstorableError: A value is of a type that cannot be told again exactly.
    """
    values = None if place.values is None else list(place.values)
    packed = packed_value([VERSION, place.is_backward, values])
    text = urlsafe_b64encode(packed).decode().rstrip("=")
    return _signer(fingerprint).sign(text)


def place_of(cursor: str, *, fingerprint: str, keys: int) -> Place:
    """Return the place that a cursor names.

    Args:
        keys: How many values it has.

    Raises:
        CursorError: It is none of this list and order.
    """
    if len(cursor) > LONGEST_CURSOR:
        raise CursorError("is too long")
    try:
        text = _signer(fingerprint).unsign(cursor)
    except signing.BadSignature as error:
        raise CursorError("is not one that this list has given in this order") from error
    version, is_backward, values = unpacked_value(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    if version != VERSION or (values is not None and len(values) != keys):
        raise CursorError("is one of an earlier version")
    return Place(is_backward, None if values is None else tuple(values))


def fingerprint_of(label: str, keys: Sequence[SortKey], scope: str) -> str:
    """Return what is the same for one order of one list.

    Args:
        label: Of the model.
        scope: What the caller tells his lists apart by.
    """
    parts = [label, scope]
    for key in keys:
        kind = type(key.field)
        parts += [
            key.name,
            f"{kind.__module__}.{kind.__qualname__}",
            str(key.descending),
            str(key.nulls_first),
        ]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


class _Signer(signing.Signer):
    """Django's signer, which derives the key of its list once and not for each cursor."""

    def signature(self, value: str | bytes, key: str | bytes | None = None) -> str:
        """Return what proves that a text is ours."""
        derived = _derived_key(self.salt, key or self.key)
        return urlsafe_b64encode(hmac.digest(derived, force_bytes(value), "sha256")).decode().rstrip("=")


def _signer(fingerprint: str) -> _Signer:
    return _signer_of(fingerprint, settings.SECRET_KEY, tuple(settings.SECRET_KEY_FALLBACKS))


@lru_cache(maxsize=1024)
def _signer_of(fingerprint: str, key: str | bytes, fallbacks: tuple[str | bytes, ...]) -> _Signer:
    return _Signer(key=key, salt=f"perfkit.keyset:{fingerprint}", sep=".", fallback_keys=fallbacks)  # type: ignore[arg-type]  # any sequence


@lru_cache(maxsize=1024)
def _derived_key(salt: str, key: str | bytes) -> bytes:
    return salted_hmac(salt, "cursor", key, algorithm="sha256").digest()
