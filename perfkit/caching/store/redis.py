"""The store on a Redis or Valkey server, reached with the settings of a django-redis cache alias."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, ClassVar, Final, TypeVar

import redis
from redis.sentinel import SentinelConnectionPool

from perfkit.caching import tokens
from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.store.connecting import hasty, hasty_sentinels
from perfkit.caching.store.contract import (
    Batch,
    Put,
    Recalled,
    ScriptedStore,
    StoredRead,
    StoreError,
    StoreFigures,
)
from perfkit.caching.store.figures import WINDOW, added_up, count_arguments, figures_in
from perfkit.caching.store.packing import Words, milliseconds
from perfkit.caching.store.reigns import REPLICATED, STANDING
from perfkit.caching.store.scripts import FENCED, PLAIN, ScriptForms
from perfkit.caching.store.server import Call, Server, ServerChangedError, heard
from perfkit.caching.tags import ENTRY_KINDS
from perfkit.secrecy import without_secrets

T = TypeVar("T")

SCANNED_KEYS: Final = 1000
"""At a time, when everything is dropped, voided or counted."""

MOST_SCANS: Final = 20
"""To count keys; beyond, their number is estimated."""


class RedisStore(ScriptedStore):
    """Entries and tokens on one server, or on the one that Sentinel says is in charge.

    Keys begin with the prefix and the server's run id.
    A server that comes back with older data has another run id, so that nothing it remembers is ever read.
    With Sentinel they name the reign too. See Note [Reigns] in `reigns`.

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
        self._connection_settings = hasty(pool.connection_kwargs, timeout_seconds=timeout_seconds)
        self._is_replicated = isinstance(pool, SentinelConnectionPool)
        if isinstance(pool, SentinelConnectionPool):
            self._sentinels = hasty_sentinels(pool, timeout_seconds=timeout_seconds)
            self._connection_settings["connection_pool"] = self._sentinels.proxy
        self._scripts = FENCED if self._is_replicated else PLAIN
        self._prefix = prefix
        self._lock = fork_safe_lock()
        self._server = self._unmet_server()

    def read(self, key: str, tags: Sequence[str]) -> StoredRead:
        def read(server: Server) -> StoredRead:
            answer = server.run(
                self._scripts.read, (key, *tags), tokens.TOKEN_TTL_MS, generation=tokens.new_generation
            )
            return StoredRead(answer[0], tuple(answer[1:]))

        return self._call(read)

    def entries(self, keys: Sequence[str]) -> tuple[bytes | None, ...]:
        return self._mget(keys)

    def tokens(self, tags: Sequence[str]) -> tuple[bytes | None, ...]:
        return self._mget(tags)

    def take(self, tags: Sequence[str]) -> tuple[bytes, ...]:
        def take(server: Server) -> tuple[bytes, ...]:
            return tuple(
                server.run(self._scripts.take, tags, tokens.TOKEN_TTL_MS, generation=tokens.new_generation)
            )

        return self._call(take)

    def fill(self, entries: Mapping[str, bytes], *, ttl_seconds: float) -> None:
        self._call(
            lambda server: server.ask_all(
                [_setting(server, key, entry, ttl_seconds) for key, entry in entries.items()]
            )
        )

    def offer(self, key: str, entry: bytes, *, ttl_seconds: float) -> None:
        self._call(lambda server: server.tell(*_setting(server, key, entry, ttl_seconds)))

    def recall(self, keys: Sequence[str], wanted: Sequence[str]) -> Recalled:
        def recall(server: Server) -> Recalled:
            answer = server.run(
                self._scripts.recall,
                (*keys, *wanted),
                tokens.TOKEN_TTL_MS,
                server.prefix,
                len(keys),
                generation=tokens.new_generation,
            )
            *entries, taken = answer
            return Recalled(tuple((entry[0], tuple(entry[1:])) for entry in entries), tuple(taken))

        return self._call(recall)

    def look(self, key: str, tags: Sequence[str]) -> StoredRead:
        entry, *found = self._mget((key, *tags))
        return StoredRead(entry, tuple(found))

    def put(self, entries: Mapping[str, Put], *, ttl_seconds: int) -> None:
        def put(server: Server) -> None:
            arguments = chain.from_iterable(
                (put.own_tag, " ".join(put.tags), put.body) for put in entries.values()
            )
            server.run(
                self._scripts.put,
                list(entries),
                tokens.TOKEN_TTL_MS,
                server.prefix,
                ttl_seconds,
                *arguments,
                generation=tokens.new_generation,
            )

        self._call(put)

    def swap(self, tag: str, token: bytes) -> bytes | None:
        def swap(server: Server) -> bytes | None:
            answer: bytes | None = server.run(
                self._scripts.swap, (tag,), tokens.TOKEN_TTL_MS, token, generation=tokens.new_generation
            )
            return answer

        return self._call(swap)

    def drop(self, keys: Sequence[str]) -> int:
        if not keys:
            return 0
        return self._call(lambda server: int(server.ask("UNLINK", *[server.prefix + key for key in keys])))

    def find(self, pattern: str) -> Iterator[list[str]]:
        cursor: Any = "0"
        while True:
            cursor, keys = self._call(partial(_scanned, pattern=pattern, cursor=cursor))
            if keys:
                yield keys
            if int(cursor) == 0:
                return

    def lease(self, name: str, *, lease_ms: int) -> bool:
        def lease(server: Server) -> bool:
            command = ("SET", server.prefix + name, b"", "NX", "PX", lease_ms)
            return bool(server.ask(*command, is_repeatable=False))

        return self._call(lease)

    def is_leased(self, name: str) -> bool:
        return self._mget([name]) != (None,)

    def release(self, name: str) -> None:
        self._call(lambda server: server.tell("UNLINK", server.prefix + name))

    def mark(self, tags: Sequence[str], *, writer: str) -> None:
        self._call(lambda server: server.run(self._scripts.mark, tags, writer, tokens.WRITE_LEASE_MS))

    def void(self, tags: Sequence[str], *, writers: Collection[str] = ()) -> None:
        def void(server: Server) -> None:
            server.run(
                self._scripts.void, tags, tokens.TOKEN_TTL_MS, *writers, generation=tokens.new_generation
            )

        self._call(void)

    def void_all(self) -> None:
        def void_all(server: Server) -> None:
            begin = len(server.prefix)
            for keys in _all_keys(server):
                tags = []
                entries = []
                for key in keys:
                    name = key[begin:].decode("utf-8", "replace")
                    if name.startswith(ENTRY_KINDS):
                        entries.append(key)
                    elif not name.startswith(WINDOW):
                        tags.append(name)
                if entries:
                    server.ask("UNLINK", *entries)
                if tags:
                    server.run(
                        self._scripts.void, tags, tokens.TOKEN_TTL_MS, generation=tokens.new_generation
                    )

        self._call(void_all)

    def count(self, batch: Batch, *, windows: Mapping[str, int]) -> None:
        calls = [
            Call(self._scripts.count, (f"{WINDOW}{name}",), *count_arguments(batch, kept_ms=seconds * 1000))
            for name, seconds in windows.items()
        ]
        self._call(lambda server: heard(server.calls(calls)))

    def counted(self, windows: Sequence[str]) -> dict[str, int]:
        def counted(server: Server) -> dict[str, int]:
            prefix = f"{server.prefix}{WINDOW}"
            return added_up(server.ask_all([("HGETALL", f"{prefix}{name}") for name in windows]))

        return self._call(counted)

    def figures(self, *, counts_keys: bool = False) -> StoreFigures:
        def figures(server: Server) -> StoreFigures:
            info, keys = server.ask_all([("INFO",), ("DBSIZE",)])
            found = figures_in(info, keys=keys)
            if not counts_keys:
                return found
            own = 0
            for scans, batch in enumerate(_all_keys(server), 1):
                own += len(batch)
                if scans == MOST_SCANS and scans * SCANNED_KEYS < keys:
                    estimate = own * keys // (scans * SCANNED_KEYS)
                    return replace(found, own_keys=estimate, is_estimate=True)
            return replace(found, own_keys=own)

        return self._call(figures)

    def clear(self) -> None:
        def clear(server: Server) -> None:
            for keys in _all_keys(server):
                if keys:
                    server.ask("UNLINK", *keys)

        self._call(clear)

    def run_script(self, script: ScriptForms, keys: Sequence[str], arguments: Words) -> Any:
        form = script.fenced if self._is_replicated else script.plain
        whole = [f"{self._prefix}:{key}" for key in keys]
        return self._call(lambda server: server.run_whole(form, whole, arguments))

    def close(self) -> None:
        self._server.leave()

    def _mget(self, names: Sequence[str]) -> tuple[bytes | None, ...]:
        def mget(server: Server) -> tuple[bytes | None, ...]:
            if self._is_replicated:
                return tuple(server.run(self._scripts.peek, names))
            prefix = server.prefix
            return tuple(server.ask("MGET", *[prefix + name for name in names]))

        return self._call(mget) if names else ()

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
                raise StoreError(without_secrets(str(error)) or type(error).__name__) from error
            # Another thread may have met a new server while we were speaking to the old one.
            if server is self._server:
                return answer
        raise StoreError(without_secrets(str(problem))) from problem

    def _replace(self, server: Server) -> None:
        """Leave a server with all its connections, for some may still reach it."""
        with self._lock:
            if self._server is server:
                self._server = self._unmet_server()
        server.leave()

    def _unmet_server(self) -> Server:
        reign = REPLICATED if self._is_replicated else STANDING
        return Server(self._connection_class, self._connection_settings, prefix=self._prefix, reign=reign)


def _setting(server: Server, key: str, entry: bytes, ttl_seconds: float) -> tuple[Any, ...]:
    return ("SET", server.prefix + key, entry, "PX", milliseconds(ttl_seconds))


def _all_keys(server: Server) -> Iterator[list[bytes]]:
    """Yield the keys of this run of the server, those among about `SCANNED_KEYS` of all keys at a time."""
    pattern = f"{glob_escaped(server.prefix)}*"
    cursor: Any = "0"
    while True:
        cursor, keys = server.ask("SCAN", cursor, "MATCH", pattern, "COUNT", SCANNED_KEYS)
        yield keys
        if int(cursor) == 0:
            return


def _scanned(server: Server, *, pattern: str, cursor: Any) -> tuple[Any, list[str]]:
    """Return where to look on, and the keys found now."""
    prefix = server.prefix
    match = glob_escaped(prefix) + pattern
    cursor, keys = server.ask("SCAN", cursor, "MATCH", match, "COUNT", SCANNED_KEYS)
    return cursor, [key.decode()[len(prefix) :] for key in keys]


def glob_escaped(text: str) -> str:
    """Return `text` so that SCAN's MATCH takes it literally."""
    return "".join(f"\\{character}" if character in "*?[]\\^" else character for character in text)
