"""Content codings: which there are here, which a client takes, and bodies in them. Pure.

gzip is always there; zstd and brotli where their packages are installed.
The levels are the highest at which none takes longer than Django's gzip does, but for zstd, whose next ones save
a tenth of the bytes for twice the time and more; `python -m benchmarks.codings` measures them.

# Note [Lengths that tell less]
Who can have a text of their own put beside a secret, and sees how long the compressed answer is, guesses the
secret by what makes it shorter (BREACH). Where an answer may hold one, as many bytes as nobody can tell beforehand
are put where each format has room for what decoders skip. They are as many for the same body each time, so that
asking again does not average them out, and equal bodies are equal bytes.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Final, Protocol

from perfkit.caching.responses.fields import weights

IDENTITY: Final = "identity"
GZIP: Final = "gzip"

GZIP_LEVEL: Final = 4
ZSTD_LEVEL: Final = 3
BROTLI_QUALITY: Final = 4
WORTH: Final = 0.9
"""Of the plain size: a variant that is larger is not kept, nor sent."""

MOST_PADDING: Final = 256
"""Bytes that one metadata block of brotli's holds, with a length of one byte."""

_GZIP_WINDOW: Final = 31
"""zlib's sign for a gzip header around the largest window."""
_GZIP_HEADER_BYTES: Final = 10
_GZIP_HAS_NAME: Final = 8
_ZSTD_SKIPPED: Final = 0x184D2A50
"""Begins a frame that decoders skip."""

_COMPRESSIBLE: Final = ("text/",)
_COMPRESSIBLE_TYPES: Final = frozenset(
    {
        "application/javascript",
        "application/json",
        "application/ld+json",
        "application/manifest+json",
        "application/wasm",
        "application/x-ndjson",
        "application/xhtml+xml",
        "application/xml",
        "application/yaml",
        "image/svg+xml",
    }
)
_COMPRESSIBLE_ENDINGS: Final = ("+json", "+xml")


Pad = Callable[[bytes], int]
"""Says of a coded body how many bytes are put beside it; see Note [Lengths that tell less]."""


class Coder(Protocol):
    """Makes a body of one coding."""

    def __call__(self, body: bytes, pad: Pad | None = None, /) -> bytes:
        """Return a body in the coding, with bytes beside it that decoders skip."""


def gzipped(body: bytes, pad: Pad | None = None, /) -> bytes:
    """Return a body as gzip, without the time, so that equal bodies are equal bytes.

    Args:
        pad: Says how long a file name is that nobody reads.
    """
    coder = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    coded = coder.compress(body) + coder.flush()
    padding = pad(coded) if pad else 0
    if not padding:
        return coded
    header = coded[:3] + bytes([coded[3] | _GZIP_HAS_NAME]) + coded[4:_GZIP_HEADER_BYTES]
    return header + b"a" * padding + b"\0" + coded[_GZIP_HEADER_BYTES:]


def gunzipped(body: bytes, *, most_bytes: int) -> bytes:
    """Return what a gzip body holds.

    Raises:
        ValueError: It holds more than `most_bytes`, or is cut off.
        zlib.error: It is no gzip.
    """
    decoder = zlib.decompressobj(_GZIP_WINDOW)
    plain = decoder.decompress(body, most_bytes + 1)
    if len(plain) > most_bytes or not decoder.eof:
        raise ValueError("a body is not of the size that it was")
    return plain


def available_coders() -> dict[str, Coder]:
    """Return what makes bodies of each coding that is installed here, the one that is made soonest first."""
    found = {"zstd": _zstd(), "br": _brotli(), GZIP: gzipped}
    return {coding: coder for coding, coder in found.items() if coder is not None}


def _zstd() -> Coder | None:
    name = next((each for each in ("compression", "backports") if _has(f"{each}.zstd")), None)
    if name is None:
        return None
    package = import_module(f"{name}.zstd")

    def zstd(body: bytes, pad: Pad | None = None, /) -> bytes:
        coded = bytes(package.compress(body, level=ZSTD_LEVEL))
        padding = pad(coded) if pad else 0
        return coded + struct.pack("<II", _ZSTD_SKIPPED, padding) + bytes(padding) if padding else coded

    return zstd


def _brotli() -> Coder | None:
    if not _has("brotli"):
        return None
    package = import_module("brotli")

    def brotli(body: bytes, pad: Pad | None = None, /) -> bytes:
        if pad is None:
            return bytes(package.compress(body, quality=BROTLI_QUALITY))
        coder = package.Compressor(quality=BROTLI_QUALITY)
        coded = coder.process(body) + coder.flush()  # to the end of a byte, so that a block can follow
        return bytes(coded + _brotli_metadata(pad(coded)) + coder.finish())

    return brotli


def _brotli_metadata(size: int) -> bytes:
    """Return a metadata block, RFC 7932, section 9.2: not the last, no bytes of text, a length of one byte."""
    if not size:
        return b""
    return struct.pack("<H", 0b010110 | (size - 1) << 6) + bytes(size)


def _has(name: str) -> bool:
    parent = name.rpartition(".")[0]
    return (not parent or find_spec(parent) is not None) and find_spec(name) is not None


CODERS: Final = available_coders()


def is_compressible(content_type: str) -> bool:
    """Say whether bodies of a type are usually smaller when compressed."""
    kind = content_type.partition(";")[0].strip().lower()
    return (
        kind.startswith(_COMPRESSIBLE) or kind in _COMPRESSIBLE_TYPES or kind.endswith(_COMPRESSIBLE_ENDINGS)
    )


def padding_of(coded: bytes, *, most: int, secret: str) -> int:
    """Return how many bytes are put beside a coded body, from 1 to `most`; 0 where that is 0.

    See Note [Lengths that tell less].
    """
    if not most:
        return 0
    key = hashlib.blake2b(secret.encode("utf-8", "surrogatepass")).digest()
    return 1 + int.from_bytes(hashlib.blake2b(coded, key=key, digest_size=8).digest(), "big") % most


def coded(
    body: bytes, coding: str, *, pad: Pad | None = None, coders: Mapping[str, Coder] = CODERS
) -> bytes | None:
    """Return a body in a coding, None where that does not make it smaller."""
    found = coders[coding](body, pad)
    return found if len(found) <= len(body) * WORTH else None


def variants(
    body: bytes, *, pad: Pad | None = None, coders: Mapping[str, Coder] = CODERS
) -> dict[str, bytes]:
    """Return a body in each coding that makes it smaller; the plain one alone where none does.

    Where there is gzip the plain one is left out: it is made of that for the few who want it.
    """
    made = {coding: coded(body, coding, pad=pad, coders=coders) for coding in coders}
    smaller = {coding: found for coding, found in made.items() if found is not None}
    return smaller if GZIP in smaller else {IDENTITY: body, **smaller}


def smallest_coding(accepted: str, bodies: Mapping[str, bytes]) -> str:
    """Return the coding to send of bodies that are made: the smallest of those that the client likes best."""
    return chosen_coding(accepted, bodies, rank=lambda coding: len(bodies[coding]))


def chosen_coding(
    accepted: str, codings: Collection[str], *, rank: Callable[[str], int] | None = None
) -> str:
    """Return the coding to send: of those that the client likes best the first, else `identity`.

    Where it takes none of them, nor `identity`, that is sent all the same, as RFC 9110 allows.

    Args:
        accepted: The request's `Accept-Encoding`, empty where it has none.
        codings: That there are.
        rank: The lowest is the first; their order where left out.

    Source:
        RFC 9110, section 12.5.3.
    """
    if not accepted:
        return IDENTITY
    wanted = dict(weights(accepted))
    if "x-gzip" in wanted:
        wanted.setdefault(GZIP, wanted["x-gzip"])
    rest = wanted.get("*", 0.0)
    offers = [
        (-weight, place if rank is None else rank(coding), coding)
        for place, coding in enumerate(codings)
        if coding != IDENTITY and (weight := wanted.get(coding, rest)) > 0
    ]
    plain = wanted.get(IDENTITY, rest)
    best = min(offers, default=None)
    return best[2] if best is not None and -best[0] >= plain else IDENTITY
