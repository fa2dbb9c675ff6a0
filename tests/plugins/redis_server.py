"""Redis itself, on which the tests of the cache's store run beside Valkey."""

from __future__ import annotations

import os
import shutil


def redis_server() -> str | None:
    """Return the program; None where it is not on the path."""
    return shutil.which("redis-server")


def is_done_without() -> bool:
    """Say whether this run leaves the tests on it out; never in CI, where they fail instead."""
    return redis_server() is None and os.environ.get("CI") != "true"
