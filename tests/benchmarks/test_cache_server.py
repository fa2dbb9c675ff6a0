from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from benchmarks.cache_server import CacheServer, cache_server
from project.services.state import ServiceError

DATABASES = (14, 15)


@pytest.fixture
def lent(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """A client of one of the databases on a server that the environment lends."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    with CacheServer(redis_url, None).client(DATABASES[1]) as client:
        client.flushdb()
        yield client
        client.flushdb()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:word@host:6380/0",
        "redis://host:6380/",
        "rediss://host",
        "unix:///run/cache.sock?db=3&timeout=5",
    ],
)
def test_it_numbers_the_databases(url: str) -> None:
    asked, told = redis.connection.parse_url(url), redis.connection.parse_url(CacheServer(url, None).url(9))
    assert told == {**asked, "db": 9}


@pytest.mark.redis
def test_it_does_not_empty_what_belongs_to_somebody(lent: redis.Redis) -> None:
    lent.set("theirs", "1")
    with pytest.raises(ServiceError, match="database 15"), cache_server(DATABASES):
        pass
    assert lent.get("theirs") == b"1"


@pytest.mark.redis
def test_it_leaves_a_lent_server_empty(lent: redis.Redis) -> None:
    with cache_server(DATABASES) as server:
        assert not server.is_own
        assert server.version
        lent.set("short", "1")
        lent.set("long", "x" * 100)
        assert server.longest_value(DATABASES[1]) == 100
    assert lent.dbsize() == 0
