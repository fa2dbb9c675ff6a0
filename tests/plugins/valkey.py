"""The cache server of the run, and servers that a test may kill."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from project.services.processes import free_port
from project.services.state import LOOPBACK
from project.services.valkey import valkey_binary


class DisposableValkey:
    """A Valkey server for one test: always on the same port, empty after each start, without a password."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://{LOOPBACK}:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server; it answers when this returns."""
        assert self._process is None, "It runs already."
        options = {"--bind": LOOPBACK, "--port": str(self.port), "--save": "", "--appendonly": "no"}
        command = [str(valkey_binary()), *(part for option in options.items() for part in option)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/"
        )
        deadline = time.monotonic() + 10
        while not self.answers():
            assert self._process.poll() is None, f"Valkey ended at once with {self._process.returncode}."
            assert time.monotonic() < deadline, "Valkey did not answer within 10 seconds."

    def answers(self) -> bool:
        """Say whether the server answers a PING."""
        with redis.Redis(
            host=LOOPBACK, port=self.port, socket_timeout=0.5, retry=Retry(NoBackoff(), 0)
        ) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def stop(self) -> None:
        """Stop the server in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a crash does: connections break, nothing is said."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let the server hang: it takes connections and never answers."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after a pause."""
        self._running().send_signal(signal.SIGCONT)

    @property
    def is_started(self) -> bool:
        return self._process is not None

    def _end(self, number: signal.Signals) -> None:
        process = self._running()
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        process.wait(timeout=10)
        self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "It does not run."
        return self._process


@pytest.fixture
def valkey_server() -> Iterator[Callable[[], DisposableValkey]]:
    """A function that starts a Valkey server of the test's own."""
    servers = []

    def start() -> DisposableValkey:
        server = DisposableValkey()
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        if server.is_started:
            server.kill()


@pytest.fixture
def redis_url() -> str:
    """The database on the run's cache server that belongs to this worker."""
    return settings.CACHES["default"]["LOCATION"]
