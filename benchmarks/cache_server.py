"""The cache server of a benchmark: its own, or the one that REDIS_URL lends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import parse_qsl, urlencode

import redis

from project import services
from project.services.state import ServiceError, services_folder
from project.services.valkey import ValkeyServer


class CacheServer:
    """A Redis or Valkey server with numbered databases, all of them the benchmark's.

    Args:
        url: Where it is; the number of the database is replaced.
        own: The server that was started for this; None where it is lent, and so may not be stopped.
    """

    def __init__(self, url: str, own: ValkeyServer | None) -> None:
        self._address, _, query = url.partition("?")
        self._query = dict(parse_qsl(query))
        self._own = own

    @property
    def is_own(self) -> bool:
        """Whether it may be stopped."""
        return self._own is not None

    @property
    def version(self) -> str:
        """The server's name and version."""
        with self.client(0) as client:
            facts = client.info("server")
        return f"{facts.get('server_name', 'redis').title()} {facts.get('valkey_version', facts['redis_version'])}"

    def url(self, database: int) -> str:
        """Return the URL of one of its databases."""
        return f"{self._address}?{urlencode({**self._query, 'db': database})}"

    def client(self, database: int) -> redis.Redis:
        """Return a client of one of its databases."""
        return redis.Redis.from_url(self.url(database))

    def require_empty(self, databases: Sequence[int]) -> None:
        """See that nobody else has keys in the databases that will be emptied.

        Raises:
            ServiceError: Somebody has.
        """
        for database in databases:
            with self.client(database) as client:
                if client.dbsize():
                    raise ServiceError(
                        f"The benchmark empties database {database} of the server in REDIS_URL, which has keys: "
                        "empty it, or leave REDIS_URL out."
                    )

    def flush(self, databases: Sequence[int]) -> None:
        """Remove every key of these databases."""
        for database in databases:
            with self.client(database) as client:
                client.flushdb()

    def longest_value(self, database: int) -> int:
        """Return the size in bytes of the longest string in a database."""
        with self.client(database) as client:
            return max(int(client.strlen(key)) for key in client.scan_iter() if client.type(key) == b"string")

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the server for a while: connections break, nobody listens."""
        assert self._own is not None
        self._own.stop()
        try:
            yield
        finally:
            self._own.start()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Let the server hang for a while: it takes connections and never answers."""
        assert self._own is not None
        with self.client(0) as client:
            process = int(client.info("server")["process_id"])
        os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process, signal.SIGCONT)


@contextmanager
def cache_server(databases: Sequence[int]) -> Iterator[CacheServer]:
    """Lend the server in REDIS_URL, or else start one and stop it afterwards; its `databases` begin and end empty.

    Raises:
        ServiceError: None can be started, or the lent one's databases have keys.
    """
    if os.environ.get("REDIS_URL"):
        lent = CacheServer(services.redis_url(), None)
        lent.require_empty(databases)
        try:
            yield lent
        finally:
            lent.flush(databases)
        return
    own = ValkeyServer(services_folder())
    try:
        yield CacheServer(own.start(), own)
    finally:
        own.stop()
