from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from project.services.state import LOOPBACK
from tests.caching.conftest import wait_until
from tests.plugins.valkey import DisposableValkey
from tests.soak.proxy import Proxy

pytestmark = pytest.mark.redis


@pytest.fixture
def server(valkey_server: Callable[[], DisposableValkey]) -> DisposableValkey:
    return valkey_server()


@pytest.fixture
def direct(server: DisposableValkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
def proxy(server: DisposableValkey) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[redis.Redis]:
    """Speaks to the server through the proxy, and has little patience."""
    with redis.Redis(
        host=LOOPBACK, port=proxy.port, socket_timeout=0.2, retry=Retry(NoBackoff(), 0)
    ) as client:
        yield client


def test_it_passes_on_whatever_comes(client: redis.Redis, direct: redis.Redis) -> None:
    long = bytes(range(256)) * 4096
    client.set("key", long)
    assert direct.get("key") == client.get("key") == long


def test_it_breaks_connections_and_refuses_new_ones_until_it_is_healed(
    proxy: Proxy, client: redis.Redis, direct: redis.Redis
) -> None:
    client.set("key", "before")
    proxy.cut()
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            client.set("key", "never")
    assert direct.get("key") == b"before"
    proxy.heal()
    client.set("key", "after")
    assert direct.get("key") == b"after"


def test_it_holds_back_what_is_said_and_brings_it_later(
    proxy: Proxy, client: redis.Redis, direct: redis.Redis
) -> None:
    client.set("key", "before")
    proxy.mute()
    with pytest.raises(redis.TimeoutError):
        client.set("key", "late")
    client.connection_pool.disconnect()
    assert direct.get("key") == b"before"
    proxy.heal()
    wait_until(lambda: direct.get("key") == b"late")


def test_it_holds_back_answers_alone(proxy: Proxy, client: redis.Redis, direct: redis.Redis) -> None:
    client.ping()
    proxy.deafen()
    with pytest.raises(redis.TimeoutError):
        client.set("key", "heard")
    assert direct.get("key") == b"heard"
    proxy.heal()
    assert client.get("key") == b"heard"


def test_it_breaks_connections_and_takes_new_ones(
    proxy: Proxy, client: redis.Redis, direct: redis.Redis
) -> None:
    first = client.client_id()
    proxy.drop()
    wait_until(lambda: all(int(each["id"]) != first for each in direct.client_list()))
    assert client.client_id() != first


def test_it_loses_its_connections_when_the_server_goes(
    proxy: Proxy, client: redis.Redis, server: DisposableValkey
) -> None:
    client.ping()
    server.kill()
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            client.ping()
    server.start()
    assert client.ping()
