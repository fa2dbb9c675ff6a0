"""Processes that a test starts, stops at an exact point, lets go on, or kills there."""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from typing import Any

from django.conf import settings
from django.db import connection

from perfkit.caching.flights import UNKNOWN_LEASE_SECONDS

# One server imports Django once, and each process is forked from it.
CONTEXT = multiprocessing.get_context("forkserver")


RENEWED_SECONDS = 2
"""That an answer of `numbered` lives, which is made anew before it ends."""


def way_to_database() -> dict[str, Any]:
    """Return by which name and way this process reaches its database, for others to take the same."""
    return {key: connection.settings_dict[key] for key in ("NAME", "HOST", "PORT")}


class Process:
    """A Python process of its own, driven through a pipe; see `child`.

    Args:
        redis_url: The cache server it uses, the run's own where left out.
        lease_ms: How long its writes keep rows out of the cache if it dies.
        flight_seconds: How long others wait for an answer that it computes.
        perfkit: Options that differ from the settings'.
    """

    def __init__(
        self,
        *,
        redis_url: str = "",
        lease_ms: int = 30_000,
        flight_seconds: float = UNKNOWN_LEASE_SECONDS,
        **perfkit: Any,
    ) -> None:
        CONTEXT.set_forkserver_preload(["pytest", "tests.caching.processes.child"])
        forkserver.ensure_running()
        from tests.caching.processes.child import run  # imports Django's models

        self._pipe, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(
            target=run,
            kwargs={
                "pipe": theirs,
                "database": way_to_database(),
                "redis_url": redis_url or settings.CACHES["default"]["LOCATION"],
                "lease_ms": lease_ms,
                "flight_seconds": flight_seconds,
                "options": {"CACHE_TIMEOUT": 5.0, "CACHE_RETRY_AFTER": 0.1, **perfkit},
            },
        )
        self._process.start()
        theirs.close()
        self._unanswered = 1
        assert self.answer() == "ready"

    @property
    def is_at_rest(self) -> bool:
        """Whether it has answered all that it was asked, and waits for more."""
        return not self._unanswered

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Have the process run one of its functions, and return what that returned."""
        self.start(name, *args, **kwargs)
        return self.answer()

    def start(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Have the process run one of its functions, and do not wait for it."""
        self._unanswered += 1
        self._pipe.send((name, args, kwargs))

    def wait_at(self, point: str) -> None:
        """Return once the process stands still at `point`, where it was told to stop."""
        assert self._pipe.recv() == {"at": point}

    def go(self) -> None:
        """Let it go on from the point where it stands."""
        self._pipe.send("go")

    def answer(self) -> Any:
        """Return what the function that was started has returned."""
        told = self._pipe.recv()
        assert "answer" in told, told
        self._unanswered -= 1
        return told["answer"]

    def is_silent(self, seconds: float) -> bool:
        """Say whether it tells nothing for so long."""
        return not self._pipe.poll(seconds)

    def told_within(self, seconds: float) -> Any:
        """Return what it tells in that time, None where it is silent."""
        return self._pipe.recv() if self._pipe.poll(seconds) else None

    def kill(self) -> None:
        """End it with SIGKILL, wherever it stands."""
        self._process.kill()
        self.end()

    def end(self) -> None:
        """Let it end, unless it has been killed; a process that stands still somewhere does not go on."""
        self._pipe.close()
        self._process.join(timeout=20)
        assert self._process.exitcode is not None
