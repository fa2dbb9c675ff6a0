"""What names a page: scheme, host, path and the canonical form of the query. Pure.

# Note [What the view is shown]
Addresses that differ in the order of their parameters, in how these are escaped, or in parameters that say only
where a visitor came from, are one page. A view that shows its own address would put one visitor's into the page of
all others, so the view that makes a page is shown the canonical query, and nothing of what the key leaves out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

_SAFE: Final = "-_.~"
DIGEST_CHARACTERS: Final = 32


class Address(NamedTuple):
    """Where a page is.

    Args:
        host: As Django takes it, of those that it allows.
        raw_host: As the client has sent it, for a view may read that too.
        query: In its canonical form.
        extra: What the project tells pages apart by besides.
    """

    scheme: str
    host: str
    raw_host: str
    path: str
    query: str
    extra: tuple[str, ...] = ()

    def digest(self) -> str:
        """Return what names it and nothing else, however long it is."""
        parts = [self.scheme, self.host, self.raw_host, self.path, self.query, *self.extra]
        text = "\0".join([f"{len(part)}:{part}" for part in parts])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_CHARACTERS]


@lru_cache(maxsize=1024)
def canonical_query(query: str, ignored: Iterable[str] = ()) -> str | None:
    """Return a query string with its parameters in the order of their names, each escaped in the same way.

    What stands more than once keeps its order. None where the text is no query string of a well-formed request.

    Args:
        query: As it stands in the address, without the question mark.
        ignored: Names that are left out, with `*` for any rest: `("utm_*",)`.
    """
    if not query:
        return ""
    if not query.isascii():
        return None
    pairs = []
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((_unescaped(name), _unescaped(value)))
    patterns = tuple(ignored)
    kept = [pair for pair in pairs if not _is_ignored(pair[0], patterns)]
    kept.sort(key=lambda pair: pair[0])
    return "&".join(
        [f"{quote_from_bytes(name, _SAFE)}={quote_from_bytes(value, _SAFE)}" for name, value in kept]
    )


def _unescaped(text: str) -> bytes:
    return unquote_to_bytes(text.replace("+", " "))


def _is_ignored(name: bytes, patterns: tuple[str, ...]) -> bool:
    text = name.decode("utf-8", "replace")
    return any(fnmatchcase(text, pattern) for pattern in patterns)
