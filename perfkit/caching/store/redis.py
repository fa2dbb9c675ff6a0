"""The store on a Redis or Valkey server, reached with the settings of a django-redis cache alias."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from perfkit.caching import tokens
from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.store.contract import Store, StoredRead, StoreError
from perfkit.caching.store.server import Server, ServerChangedError

T = TypeVar("T")

SCANNED_KEYS: Final = 1000
"""At a time, when everything is dropped."""


class RedisStore(Store):
    """Entries and tokens on one server.

    Keys begin with the prefix and the server's run id.
    A server that comes back with older data has another run id, so that nothing it remembers is ever read.

    Args:
        client: A client whose connection settings are used; timeouts and retries are our own.
        prefix: Begins every key.
        timeout_seconds: Longest wait for an answer or a connection.
    """

    is_shared: ClassVar[bool] = True

    def __init__(self, client: redis.Redis, *, prefix: str, timeout_seconds: float) -> None:
        self._client = client  # a sentinel's connections ask its pool
        pool = client.connection_pool
        self._connection_class = pool.connection_class
        self._connection_settings = {
            **pool.connection_kwargs,
            "decode_responses": False,
            "socket_timeout": timeout_seconds,
            "socket_connect_timeout": timeout_seconds,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_timeout": False,
            "retry_on_error": [],
            "health_check_interval": 0,
        }
        self._prefix = prefix
        self._lock = fork_safe_lock()
        self._server = self._unmet_server()

    def read(self, key: str, tags: Sequence[str]) -> StoredRead:
        def read(server: Server) -> StoredRead:
            answer = server.run("read", (key, *tags), tokens.TOKEN_TTL_MS, generation=tokens.new_generation)
            return StoredRead(answer[0], tuple(answer[1:]))

        return self._call(read)

    def tokens(self, tags: Sequence[str]) -> tuple[bytes | None, ...]:
        def mget(server: Server) -> tuple[bytes | None, ...]:
            prefix = server.prefix
            return tuple(server.ask("MGET", *[prefix + tag for tag in tags]))

        return self._call(mget)

    def take(self, tags: Sequence[str]) -> tuple[bytes, ...]:
        def take(server: Server) -> tuple[bytes, ...]:
            return tuple(server.run("take", tags, tokens.TOKEN_TTL_MS, generation=tokens.new_generation))

        return self._call(take)

    def fill(self, entries: Mapping[str, bytes], *, ttl_seconds: int) -> None:
        self._call(
            lambda server: server.ask_all(
                [_setting(server, key, entry, ttl_seconds) for key, entry in entries.items()]
            )
        )

    def offer(self, key: str, entry: bytes, *, ttl_seconds: int) -> None:
        self._call(lambda server: server.tell(*_setting(server, key, entry, ttl_seconds)))

    def lease(self, name: str, *, lease_ms: int) -> bool:
        def lease(server: Server) -> bool:
            command = ("SET", server.prefix + name, b"", "NX", "PX", lease_ms)
            return bool(server.ask(*command, is_repeatable=False))

        return self._call(lease)

    def release(self, name: str) -> None:
        self._call(lambda server: server.tell("UNLINK", server.prefix + name))

    def mark(self, tags: Sequence[str], *, writer: str) -> None:
        self._call(lambda server: server.run("mark", tags, writer, tokens.WRITE_LEASE_MS))

    def void(self, tags: Sequence[str], *, writers: Collection[str] = ()) -> None:
        def void(server: Server) -> None:
            server.run("void", tags, tokens.TOKEN_TTL_MS, *writers, generation=tokens.new_generation)

        self._call(void)

    def clear(self) -> None:
        def clear(server: Server) -> None:
            pattern = f"{_glob_escaped(server.prefix)}*"
            cursor: Any = "0"
            while True:
                cursor, keys = server.ask("SCAN", cursor, "MATCH", pattern, "COUNT", SCANNED_KEYS)
                if keys:
                    server.ask("UNLINK", *keys)
                if int(cursor) == 0:
                    return

        self._call(clear)

    def close(self) -> None:
        self._server.leave()

    def _call(self, command: Callable[[Server], T]) -> T:
        """Run `command` on the server that is in charge now.

        Raises:
            StoreError: The server did not answer in time, or changed twice meanwhile.
        """
        problem: Exception = StoreError("the server changed while it was asked")
        for _ in range(2):
            server = self._server
            try:
                server.meet()
                answer = command(server)
            except ServerChangedError as error:
                problem = error
                self._replace(server)
                continue
            except (redis.RedisError, OSError) as error:
                raise StoreError(str(error) or type(error).__name__) from error
            # Another thread may have met a new server while we were speaking to the old one.
            if server is self._server:
                return answer
        raise StoreError(str(problem)) from problem

    def _replace(self, server: Server) -> None:
        """Leave a server with all its connections, for some may still reach it."""
        with self._lock:
            if self._server is server:
                self._server = self._unmet_server()
        server.leave()

    def _unmet_server(self) -> Server:
        return Server(self._connection_class, self._connection_settings, prefix=self._prefix)


def _setting(server: Server, key: str, entry: bytes, ttl_seconds: int) -> tuple[Any, ...]:
    return ("SET", server.prefix + key, entry, "EX", ttl_seconds)


def _glob_escaped(text: str) -> str:
    """Return `text` so that SCAN's MATCH takes it literally."""
    return "".join(f"\\{character}" if character in "*?[]\\^" else character for character in text)
