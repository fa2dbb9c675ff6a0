"""The store on a Redis or Valkey server, reached with the settings of a django-redis cache alias."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.resources import files
from typing import Any, ClassVar, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from perfkit.caching import tokens
from perfkit.caching.store.contract import Store, StoredRead, StoreError

T = TypeVar("T")


class ServerChangedError(redis.ConnectionError):
    """A new connection reached another server, or the same one restarted: older keys mean nothing there."""


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
        self._lock = threading.Lock()
        self._server = self._unmet_server()

    def read(self, key: str, tags: Sequence[str]) -> StoredRead:
        def mget(server: Server) -> StoredRead:
            prefix = server.prefix
            answers: list[Any] = server.client.mget([prefix + key, *(prefix + tag for tag in tags)])
            entry, *found = answers
            return StoredRead(entry, tuple(found))

        return self._call(mget)

    def tokens(self, tags: Sequence[str]) -> tuple[bytes | None, ...]:
        def mget(server: Server) -> tuple[bytes | None, ...]:
            answers: list[Any] = server.client.mget([server.prefix + tag for tag in tags])
            return tuple(answers)

        return self._call(mget)

    def take(self, tags: Sequence[str]) -> tuple[bytes, ...]:
        return tuple(self._run("take", tags, tokens.new_generation(), tokens.TOKEN_TTL_MS))

    def fill(self, entries: Mapping[str, bytes], *, ttl_seconds: int) -> None:
        def fill(server: Server) -> None:
            if len(entries) == 1:
                [(key, entry)] = entries.items()
                server.client.set(server.prefix + key, entry, ex=ttl_seconds)
                return
            with server.client.pipeline(transaction=False) as pipeline:
                for key, entry in entries.items():
                    pipeline.set(server.prefix + key, entry, ex=ttl_seconds)
                pipeline.execute()

        self._call(fill)

    def lease(self, name: str, *, lease_ms: int) -> bool:
        return self._call(
            lambda server: bool(server.client.set(server.prefix + name, b"", nx=True, px=lease_ms))
        )

    def release(self, name: str) -> None:
        self._call(lambda server: server.client.unlink(server.prefix + name))

    def mark(self, tags: Sequence[str], *, writer: str) -> None:
        self._run("mark", tags, writer, tokens.WRITE_LEASE_MS)

    def void(self, tags: Sequence[str], *, writers: Collection[str] = ()) -> None:
        self._run("void", tags, tokens.new_generation(), tokens.TOKEN_TTL_MS, *writers)

    def clear(self) -> None:
        def clear(server: Server) -> None:
            keys = list(server.client.scan_iter(match=f"{_glob_escaped(server.prefix)}*", count=1000))
            for start in range(0, len(keys), 1000):
                server.client.unlink(*keys[start : start + 1000])

        self._call(clear)

    def close(self) -> None:
        """Close the connections that nobody uses at this moment."""
        self._server.leave()

    def _run(self, script: str, tags: Sequence[str], *arguments: Any) -> Any:
        return self._call(
            lambda server: server.scripts[script](
                keys=[server.prefix + tag for tag in tags], args=list(arguments)
            )
        )

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


class Server:
    """One run of one server: every connection of its pool reaches that run and no other.

    Args:
        prefix: Begins every key, before the run id.
    """

    def __init__(self, connection_class: type[Any], settings: Mapping[str, Any], *, prefix: str) -> None:
        self._lock = threading.Lock()
        self._run_id = ""
        self._namespace = prefix
        self.client = redis.Redis(
            connection_pool=redis.ConnectionPool(
                connection_class=connection_class, **{**settings, "redis_connect_func": self._greet}
            )
        )
        lua = files(__package__) / "lua"
        self.scripts = {
            name: self.client.register_script((lua / f"{name}.lua").read_text(encoding="utf-8"))
            for name in ("mark", "take", "void")
        }

    @property
    def prefix(self) -> str:
        """What every key of this run begins with; known once it has been met."""
        return f"{self._namespace}:{self._run_id}:"

    def meet(self) -> None:
        """Learn the run id, unless it is known."""
        if not self._run_id:
            self.client.ping()  # opens a connection, which greets

    def leave(self) -> None:
        """Close the idle connections; one in use goes when its command has ended and nobody holds it."""
        self.client.connection_pool.disconnect(inuse_connections=False)

    def _greet(self, connection: Any) -> None:
        """Open a connection as redis-py does, and learn which run of which server is at its other end."""
        connection.on_connect()
        connection.send_command("INFO", "server")
        answer = connection.read_response()
        text = answer.decode() if isinstance(answer, bytes) else str(answer)
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        run_id = fields.get("run_id", "")[:16]
        if not run_id:
            raise redis.ConnectionError("the server does not tell its run_id (INFO server)")
        with self._lock:
            self._run_id = self._run_id or run_id
        if self._run_id != run_id:
            raise ServerChangedError("the cache server is another one, or was restarted")


def _glob_escaped(text: str) -> str:
    """Return `text` so that SCAN's MATCH takes it literally."""
    return "".join(f"\\{character}" if character in "*?[]\\^" else character for character in text)
