"""Where work is done: the servers' addresses, the client and the workers that are started there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.environment import ROOT
from benchmarks.workers import Worker
from project import services

CELERY_WORKER: Final = (
    *("celery", "-A", "benchmarks.queued.app", "worker", "--loglevel", "WARNING", "-c", "1"),
    *("--without-mingle", "--without-gossip", "--without-heartbeat"),
)
PEER_WORKER: Final = ("django", "procrastinate", "worker", "--concurrency", "1")
LEAVES_SECONDS: Final = 20


@dataclass(frozen=True)
class Place:
    """The addresses of a broker and of a cache, and a folder for what workers say."""

    broker: str
    cache: str
    folder: Path

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment of a process there; `variables` without their PERFKIT_BENCH_ win."""
        own = {"BROKER": self.broker, "CACHE": self.cache, **variables}
        return {
            **os.environ,
            "DATABASE_URL": services.database_url(),
            "DJANGO_SETTINGS_MODULE": "benchmarks.queued.settings",
            **{f"PERFKIT_BENCH_{name}": value for name, value in own.items()},
        }

    def client(self, **variables: str) -> Worker:
        """Start a process that enqueues; it is closed with the block that it is entered with."""
        return Worker("the client", "benchmarks.queued.client", self.environment(**variables))

    @contextmanager
    def working(self, command: tuple[str, ...] = CELERY_WORKER, **variables: str) -> Iterator[None]:
        """Have a worker run within the block."""
        with (self.folder / f"{command[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=self.environment(**variables),
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=LEAVES_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
