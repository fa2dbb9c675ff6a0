"""The two lines of text that a named entry begins with: its tags, and their tokens. See `entries`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache


@lru_cache(maxsize=1024)
def tags_line(tags: tuple[str, ...]) -> bytes:
    """Return the first line, without its end; the same tags come again and again."""
    return " ".join(tags).encode()


def head_of(tags: tuple[str, ...], tokens: Sequence[bytes]) -> bytes:
    """Return the two lines of text."""
    return b"%b\n%b\n" % (tags_line(tags), b" ".join(tokens))


def tags_in(stored: bytes) -> tuple[str, ...]:
    """Return the tags that an entry names; none where it is no entry."""
    end = stored.find(b"\n")
    try:
        return tuple(stored[:end].decode().split(" ")) if end > 0 else ()
    except UnicodeDecodeError:
        return ()


def tokens_in(stored: bytes) -> tuple[bytes, ...]:
    """Return the tokens that an entry was made with; none where it is no entry."""
    lines = stored.split(b"\n", 2)
    return tuple(lines[1].split(b" ")) if len(lines) == 3 else ()  # noqa: PLR2004  # two lines and the rest


def body_in(stored: bytes, tags: tuple[str, ...], tokens: Sequence[bytes | None]) -> bytes | None:
    """Return what follows the head, where that is of these tags and tokens; None where it is not."""
    if None in tokens:
        return None
    head = head_of(tags, tokens)  # type: ignore[arg-type]  # none of them is None
    return stored[len(head) :] if stored.startswith(head) else None
