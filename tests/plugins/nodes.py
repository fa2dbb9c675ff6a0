"""One process among several of Valkey or Redis, which a test may kill or let hang."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from project.services.state import LOOPBACK
from project.services.valkey import valkey_binary

PATIENCE_SECONDS = 30


class Node:
    """A server, and a client of its own.

    Args:
        folder: Where it keeps its files.
        arguments: Of its program.
    """

    def __init__(
        self, program: Path, folder: Path, *arguments: str, port: int, password: str | None = None
    ) -> None:
        self.port = port
        self.is_paused = False
        self._command = [str(program), *arguments]
        self._folder = folder
        self._log = folder / f"{port}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(
            host=LOOPBACK, port=port, password=password, socket_timeout=5, retry=Retry(NoBackoff(), 0)
        )

    def start(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=subprocess.STDOUT, cwd=self._folder
            )
        wait_for(self.answers)

    def answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"A server has ended: {self._log.read_text()[-2000:]}"
        with suppress(redis.RedisError):
            return bool(self.client.ping())
        return False

    def kill(self) -> None:
        """End it as a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=10)
        self._process = None

    def pause(self) -> None:
        """Let it hang: it takes connections and never answers."""
        self._signal(signal.SIGSTOP)
        self.is_paused = True

    def resume(self) -> None:
        """Let it go on after a pause."""
        self._signal(signal.SIGCONT)
        self.is_paused = False

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def is_primary(self) -> bool:
        with suppress(redis.RedisError):
            return self.client.info("replication")["role"] == "master"
        return False

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def programs() -> dict[str, Callable[[], Path | None]]:
    """Return what finds each kind of server's program."""
    return {"valkey": valkey_binary, "redis": _redis_server}


def _redis_server() -> Path | None:
    found = shutil.which("redis-server")
    return Path(found) if found else None


def wait_for(claim: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "The servers did not come to that in time."
        time.sleep(0.02)
