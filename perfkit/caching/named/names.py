"""Key paths, and the tags that what is kept under one depends on: plain text, computed locally.

A key path is parts joined by colons, such as `airport:stats:7`.
What is kept under it depends on its own tag (`k:airport:stats:7`) and on those of the namespaces that it is in
(`n:`, `n:airport`, `n:airport:stats`), so that a pattern such as `airport:*` is one tag, however much it matches.
A tag of the project's own is `t:` and its name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from perfkit.caching.tags import key_text
from perfkit.errors import CacheKeyError

LONGEST_PATH: Final = 200
LONGEST_PART: Final = 64
LONGEST_NAME: Final = 150
"""Characters of a function's name within a path."""

MOST_PARTS: Final = 8
"""Namespaces of their own; deeper ones share the last, which only invalidates too much."""

EVERYTHING: Final = "n:"
"""The namespace of all key paths."""

PATTERN_TEXT: Final = re.compile(r"[!-~]+")
"""What a pattern of keys may hold."""

KEY_TEXT: Final = re.compile(r"[!-)+->@-Z\\-~]+")
"""What a key may hold: that but for `*`, `?` and `[`."""

_GLOB: Final = re.compile(r"[*?\[]")
_DIGEST: Final = re.compile(r"%[0-9a-f]{32}")
_SAFE: Final = "-_.~@+=,;!$&()/|'"
"""Stand for themselves within a part; the colon, the percent sign and what a pattern is made of do not."""


def checked_path(key: object) -> str:
    """Return a key path that a caller gave, if it is one.

    Raises:
        CacheKeyError: It is not.
    """
    if not isinstance(key, str):
        raise CacheKeyError(repr(key), f"it is of type {type(key).__name__}, not a text")
    if len(key) > LONGEST_PATH:
        raise CacheKeyError(f"{key[:40]}…", f"it has {len(key)} characters, and {LONGEST_PATH} are the most")
    if not PATTERN_TEXT.fullmatch(key):
        raise CacheKeyError(key, "it may hold printable ASCII without spaces, and must not be empty")
    if _GLOB.search(key):
        raise CacheKeyError(key, "the characters * ? [ are for patterns")
    return str.__str__(key)


def path_part(text: str, *, longest: int = LONGEST_PART) -> str:
    """Return any text as one part of a path; different texts make different parts.

    Args:
        longest: Characters that it may have; of more, the digest stands there.
    """
    part = quote(text, safe=_SAFE, errors="surrogatepass")
    if len(part) <= longest and part and not _DIGEST.fullmatch(part):
        return part
    return f"%{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def within_length(path: str) -> str:
    """Return a path that a key may have: of a longer one the first parts, and a digest of all of it."""
    if len(path) <= LONGEST_PATH:
        return path
    digest = hashlib.sha256(path.encode()).hexdigest()[:32]
    begin = path[: LONGEST_PATH - len(digest) - 1].rpartition(":")[0]
    return f"{begin}:{digest}" if begin else digest


def own_tag(path: str) -> str:
    """Return the tag of what is kept under a path and under no other."""
    return f"k:{path}"


def namespace_tag(path: str) -> str:
    """Return the tag of all that is kept below a path; `""` is above all of them."""
    parts = path.split(":")
    return EVERYTHING + ":".join(parts[:MOST_PARTS])


def tags_of_path(path: str) -> tuple[str, ...]:
    """Return the tags of a path: its own, and those of the namespaces that it is in, the innermost first.

    One that is too long is kept under a shorter one, and is in the namespaces of the longer one all the same.
    """
    above = path.split(":")[:-1][:MOST_PARTS]
    return (
        own_tag(within_length(path)),
        *[EVERYTHING + ":".join(above[:end]) for end in range(len(above), 0, -1)],
        EVERYTHING,
    )


def tag_of_pattern(pattern: str) -> str:
    """Return the tag of all paths that match a pattern, and perhaps of more.

    `airport:*` is the namespace `airport`, and a pattern without wildcards the path itself.
    Where a wildcard stands elsewhere, the tag is that of the last namespace before it: `airport:*:7` is `airport`.

    Raises:
        CacheKeyError: It is no pattern of key paths, or begins with a wildcard and is more than `*`, which is all.
    """
    if len(pattern) > LONGEST_PATH:
        raise CacheKeyError(
            f"{pattern[:40]}…", f"it has {len(pattern)} characters, and {LONGEST_PATH} are the most"
        )
    return tag_of_written(pattern)


def tag_of_written(pattern: str) -> str:
    """Return the tag of a pattern as `tag_of_pattern` does, of one that may be longer, as a template writes it.

    What is kept under a path that is too long has a shorter one; see `within_length`.
    """
    wildcard = _GLOB.search(pattern)
    if wildcard is None:
        return own_tag(checked_path(within_length(pattern)))
    if not PATTERN_TEXT.fullmatch(pattern):
        raise CacheKeyError(pattern[:40], "a pattern is printable ASCII without spaces")
    namespace = pattern[: wildcard.start()].rpartition(":")[0]
    if not namespace and pattern != "*":
        raise CacheKeyError(pattern, "a pattern begins with a namespace, such as `airport:*`, or is `*`")
    return namespace_tag(namespace)


def project_tag(name: object) -> str:
    """Return the tag that a project calls `name`.

    Raises:
        CacheKeyError: It is not a text, or empty.
    """
    if not isinstance(name, str) or not name:
        raise CacheKeyError(repr(name), "a tag is a text that is not empty")
    return f"t:{key_text(name)}"


def project_tags(names: Iterable[str]) -> tuple[str, ...]:
    """Return the tags that a project calls so.

    Raises:
        CacheKeyError: One is not a text, or all of them are one.
    """
    if isinstance(names, str):
        raise CacheKeyError(names, f"tags are a list of texts, such as [{names!r}]")
    return tuple(map(project_tag, names))


def is_named_tag(tag: str) -> bool:
    """Say whether a tag is of a path, a namespace or a project, and so of no table."""
    return tag[:2] in {"k:", "n:", "t:"}
