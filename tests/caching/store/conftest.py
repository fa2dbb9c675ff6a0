"""Real servers of each kind; Valkey is always there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from perfkit.caching.store.cluster import ClusterStore
from perfkit.caching.store.connecting import hasty
from perfkit.caching.store.redis import RedisStore
from perfkit.caching.store.topology import Address, Topology
from project.services.processes import free_port
from project.services.state import LOOPBACK
from project.services.valkey import valkey_binary
from tests.caching.conftest import wait_until
from tests.plugins.cluster import DisposableCluster
from tests.plugins.redis_server import redis_server
from tests.plugins.sentinel import Watch

PROGRAMS = {"valkey": valkey_binary, "redis": redis_server}
KINDS = ("valkey", pytest.param("redis", marks=pytest.mark.redis_server))


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture(scope="session", params=KINDS)
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of its own, so that its counters count nothing else."""
    program = PROGRAMS[request.param]()
    assert program is not None, "There is no redis-server on the path."
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


def opened(client: redis.Redis, *, prefix: str = "test", timeout_seconds: float = 5) -> RedisStore:
    return RedisStore(client, prefix=prefix, timeout_seconds=timeout_seconds)


@pytest.fixture(scope="session", params=KINDS)
def cluster(request: pytest.FixtureRequest) -> Iterator[DisposableCluster]:
    """Three primaries that nobody kills."""
    program = PROGRAMS[request.param]()
    assert program is not None, "There is no redis-server on the path."
    cluster = DisposableCluster(Path(program), replicas=0)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session", params=KINDS)
def watch(request: pytest.FixtureRequest) -> Iterator[Watch]:
    """A primary with a replica that nobody kills, and sentinels."""
    program = PROGRAMS[request.param]()
    assert program is not None, "There is no redis-server on the path."
    watch = Watch(Path(program))
    try:
        watch.start()
        yield watch
    finally:
        watch.stop()


def opened_over(
    cluster: DisposableCluster, *, prefix: str = "test", timeout_seconds: float = 5
) -> ClusterStore:
    settings = hasty({}, timeout_seconds=timeout_seconds)
    addresses = [Address(*address) for address in cluster.addresses]
    return ClusterStore(Topology(addresses, redis.Connection, settings, prefix=prefix))


@pytest.fixture
def client(server_url: str) -> Iterator[redis.Redis]:
    """A way to the server past the store; it is empty."""
    with redis.Redis.from_url(server_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def store(client: redis.Redis) -> Iterator[RedisStore]:
    store = opened(client)
    yield store
    store.close()
