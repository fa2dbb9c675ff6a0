"""What clients make of compressed bodies, with the decoders of those who have made the codings."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from typing import Any, Final

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DECODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": gzip.decompress,
    "br": brotli.decompress,
    "zstd": zstd.decompress,
}


def body_of(response: Any) -> bytes:
    """Return the body that a client shows."""
    content: bytes = response.content
    if not content or not response.has_header("Content-Encoding"):
        return content
    return DECODERS[response["Content-Encoding"]](content)
