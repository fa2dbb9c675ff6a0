"""Real servers of each kind that is installed; Valkey always is."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from project.services.processes import free_port
from project.services.state import LOOPBACK
from project.services.valkey import valkey_binary
from tests.caching.conftest import wait_until

PROGRAMS = {"valkey": None, **({"redis": found} if (found := shutil.which("redis-server")) else {})}


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture(scope="session", params=PROGRAMS)
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of its own, so that its counters count nothing else."""
    program = PROGRAMS[request.param] or valkey_binary()
    port = free_port()
    command = [str(program), "--bind", LOOPBACK, "--port", str(port), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=str(Path("/"))
    )
    with redis.Redis(host=LOOPBACK, port=port) as client:
        wait_until(lambda: answers(client))
    yield f"redis://{LOOPBACK}:{port}/0"
    process.terminate()
    process.wait(timeout=10)
