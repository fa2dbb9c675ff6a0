"""How a command is written down for the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

_pack: Callable[[tuple[Any, ...]], bytes] | None
try:
    from hiredis import pack_command as _pack
except ImportError:  # it comes with the extra, and redis-py does without it too
    _pack = None


class Words(NamedTuple):
    """Several words of a command, written down once for all commands that have them."""

    number: int
    text: bytes

    @classmethod
    def of(cls, *words: str | bytes | int) -> Self:
        """Return these words."""
        head, _, text = packed(*words).partition(b"\r\n")
        return cls(int(head[1:]), text)


def packed(*command: str | bytes | int | Words) -> bytes:
    """Return a command as the server reads it: an array of strings.

    redis-py does the same in three times the time; answers, which have many forms, are left to it.
    Source: the Redis serialization protocol, https://redis.io/docs/latest/develop/reference/protocol-spec/
    """
    if _pack is not None and Words not in map(type, command):
        return _pack(command)
    count = len(command)
    parts = []
    for part in command:
        if type(part) is Words:
            count += part.number - 1
            parts.append(part.text)
        else:
            text = part if isinstance(part, bytes) else str(part).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(text), text))
    return b"*%d\r\n%b" % (count, b"".join(parts))


def milliseconds(ttl_seconds: float) -> int:
    """Return a time to live as PX takes it, at least 1."""
    return max(1, int(ttl_seconds * 1000))
