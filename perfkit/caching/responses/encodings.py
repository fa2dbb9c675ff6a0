"""Content codings: which there are here, which a client takes, and bodies in them. Pure.

gzip is always there; zstd and brotli where their packages are installed.
A body is compressed once and sent often: the levels are those beyond which twice the time saves less than a
twentieth of the bytes, measured on JSON of 3, 22 and 224 KB.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from perfkit.caching.responses.fields import weights

IDENTITY: Final = "identity"
GZIP: Final = "gzip"

COMPRESS_FROM_BYTES: Final = 1_000
GZIP_LEVEL: Final = 4
ZSTD_LEVEL: Final = 3
BROTLI_QUALITY: Final = 4
WORTH: Final = 0.9
"""Of the plain size: a variant that is larger is not kept."""

_GZIP_WINDOW: Final = 31
"""zlib's sign for a gzip header around the largest window."""

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

Coder = Callable[[bytes], bytes]


def gzipped(body: bytes) -> bytes:
    """Return a body as gzip, without the time, so that equal bodies are equal bytes."""
    coder = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return coder.compress(body) + coder.flush()


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
    """Return what makes bodies of each coding that is installed here."""
    coders: dict[str, Coder] = {GZIP: gzipped}
    zstd = _zstd()
    if zstd is not None:
        coders["zstd"] = zstd
    if find_spec("brotli") is not None:
        brotli = import_module("brotli")
        coders["br"] = lambda body: bytes(brotli.compress(body, quality=BROTLI_QUALITY))
    return coders


def _zstd() -> Coder | None:
    if find_spec("compression") is not None and find_spec("compression.zstd") is not None:
        standard = import_module("compression.zstd")  # Python 3.14
        return lambda body: bytes(standard.compress(body, level=ZSTD_LEVEL))
    if find_spec("zstandard") is not None:
        package = import_module("zstandard")
        # A compressor of its own for each body: one may not be used by several threads.
        return lambda body: bytes(package.ZstdCompressor(level=ZSTD_LEVEL).compress(body))
    return None


CODERS: Final = available_coders()


def is_compressible(content_type: str) -> bool:
    """Say whether bodies of a type are usually smaller when compressed."""
    kind = content_type.partition(";")[0].strip().lower()
    return (
        kind.startswith(_COMPRESSIBLE) or kind in _COMPRESSIBLE_TYPES or kind.endswith(_COMPRESSIBLE_ENDINGS)
    )


def variants(body: bytes, coders: Mapping[str, Coder] = CODERS) -> dict[str, bytes]:
    """Return a body in each coding that makes it smaller; the plain one alone where none does.

    Where there is gzip the plain one is left out: it is made of that for the few who want it.
    """
    if len(body) < COMPRESS_FROM_BYTES:
        return {IDENTITY: body}
    found = {coding: coder(body) for coding, coder in coders.items()}
    smaller = {coding: coded for coding, coded in found.items() if len(coded) <= len(body) * WORTH}
    return smaller if GZIP in smaller else {IDENTITY: body, **smaller}


def chosen_coding(accepted: str, bodies: Mapping[str, bytes]) -> str:
    """Return the coding to send: the smallest of those that the client likes best, else `identity`.

    Args:
        accepted: The request's `Accept-Encoding`, empty where it has none.
    """
    if not accepted:
        return IDENTITY
    wanted = dict(weights(accepted))
    if "x-gzip" in wanted:
        wanted.setdefault(GZIP, wanted["x-gzip"])
    rest = wanted.get("*", 0.0)
    offers = [
        (-weight, len(body), coding)
        for coding, body in bodies.items()
        if coding != IDENTITY and (weight := wanted.get(coding, rest)) > 0
    ]
    plain = wanted.get(IDENTITY, 0.0)
    best = min(offers, default=None)
    return best[2] if best is not None and -best[0] >= plain else IDENTITY
