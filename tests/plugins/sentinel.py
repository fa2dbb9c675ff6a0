"""A primary and its replica, watched by three sentinels that put one in the place of the other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from project.services.processes import free_port
from project.services.state import LOOPBACK
from tests.plugins.aliases import sentinel_url
from tests.plugins.nodes import Node, programs, wait_for

DOWN_AFTER_MS = 500

FENCED = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2")
"""A primary that has lost its replica refuses to be written, as the documentation tells to set it."""

SENTINEL = """\
bind {host}
port {port}
dir "{folder}"
sentinel monitor {service} {host} {primary} 2
sentinel down-after-milliseconds {service} {down_after_ms}
sentinel failover-timeout {service} 3000
"""


class WatchedServer(Node):
    """A server that may be a primary or a replica, or one of the sentinels."""

    def follows(self, primary: WatchedServer) -> bool:
        """Say whether this one is a replica of the other, and in step with it."""
        with suppress(redis.RedisError):
            told = self.client.info("replication")
            return bool(
                told["role"] == "slave"
                and told["master_port"] == primary.port
                and told["master_link_status"] == "up"
            )
        return False


class Watch:
    """All of them."""

    def __init__(self, program: Path, *, options: tuple[str, ...] = FENCED) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self.service = (
            f"main-{uuid4().hex[:8]}"  # django-redis keeps the sentinels of a name as long as it lives
        )
        self.servers = []
        for _ in range(2):
            port = free_port()
            arguments = ("--bind", LOOPBACK, "--port", str(port), "--save", "", "--appendonly", "no")
            delay = ("--repl-diskless-sync-delay", "0")
            self.servers.append(WatchedServer(program, folder, *arguments, *delay, *options, port=port))
        self.sentinels = []
        for number in range(3):
            port = free_port()
            file = folder / f"sentinel{number}.conf"
            file.write_text(
                SENTINEL.format(
                    host=LOOPBACK,
                    port=port,
                    folder=folder,
                    service=self.service,
                    primary=self.servers[0].port,
                    down_after_ms=DOWN_AFTER_MS,
                )
            )
            self.sentinels.append(WatchedServer(program, folder, str(file), "--sentinel", port=port))

    @property
    def url(self) -> str:
        return sentinel_url([(LOOPBACK, sentinel.port) for sentinel in self.sentinels], self.service)

    def start(self) -> None:
        """Start them; the sentinels know each other, and the replica, when this returns."""
        first, second = self.servers
        first.start()
        second.start()
        second.client.replicaof(LOOPBACK, first.port)
        wait_for(lambda: second.follows(first))
        for sentinel in self.sentinels:
            sentinel.start()
        wait_for(lambda: all(map(self.knows_all, self.sentinels)))

    def knows_all(self, sentinel: WatchedServer) -> bool:
        told = sentinel.client.sentinel_master(self.service)
        return bool(told["num-other-sentinels"] == 2 and told["num-slaves"] == 1)

    @property
    def primary(self) -> WatchedServer:
        """The one that the sentinels name."""
        for sentinel in self.sentinels:
            if sentinel.is_running:
                _, port = sentinel.client.sentinel_get_master_addr_by_name(self.service)
                return next(server for server in self.servers if server.port == int(port))
        raise AssertionError("There is no sentinel.")

    @property
    def replica(self) -> WatchedServer:
        return next(server for server in self.servers if server is not self.primary)

    def change_places(self) -> None:
        """Have the sentinels put the replica in the place of the living primary."""
        first, second = self.primary, self.replica

        def is_asked() -> bool:
            with suppress(redis.ResponseError):  # NOGOODSLAVE, INPROG: not yet
                return bool(self.sentinels[0].client.execute_command("SENTINEL", "FAILOVER", self.service))
            return False

        wait_for(is_asked)
        wait_for(lambda: second.is_primary() and first.follows(second), seconds=60)
        wait_for(lambda: self.primary is second)

    def stop(self) -> None:
        for server in (*self.sentinels, *self.servers):
            server.client.close()
            if server.is_running:
                server.kill()
        self._folder.cleanup()


@pytest.fixture
def start_watch() -> Iterator[Callable[..., Watch]]:
    """A function that starts a primary, a replica and three sentinels of the test's own."""
    started = []

    def start(*, kind: str = "valkey", options: tuple[str, ...] = FENCED) -> Watch:
        program = programs()[kind]()
        assert program is not None, "There is no redis-server on the path."
        watch = Watch(program, options=options)
        started.append(watch)
        watch.start()
        return watch

    yield start
    for watch in started:
        watch.stop()
