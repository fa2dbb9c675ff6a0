"""How a command is written down for the server."""

from __future__ import annotations


def packed(*command: str | bytes | int) -> bytes:
    """Return a command as the server reads it: an array of strings.

    redis-py does the same in three times the time; answers, which have many forms, are left to it.
    Source: the Redis serialization protocol, https://redis.io/docs/latest/develop/reference/protocol-spec/
    """
    parts = [b"*%d\r\n" % len(command)]
    for part in command:
        text = part if isinstance(part, bytes) else str(part).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(text), text))
    return b"".join(parts)
