"""From an alias of django-redis to a store; nothing is connected to until something is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.cache import caches

from perfkit.caching import ClusterConnectionFactory
from perfkit.caching.store import current_store
from perfkit.caching.store.cluster import ClusterStore
from perfkit.caching.store.redis import RedisStore
from perfkit.errors import SettingsError
from project.services.processes import free_port
from tests.caching.store.conftest import KINDS
from tests.plugins.aliases import alias, cluster_url, sentinel_url
from tests.plugins.cluster import DisposableCluster

pytestmark = pytest.mark.redis
NOWHERE = "127.0.0.1", 1


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://127.0.0.1:1/0", RedisStore),
        (sentinel_url([NOWHERE], "main"), RedisStore),
        (cluster_url([NOWHERE]), ClusterStore),
    ],
    ids=["server", "sentinel", "cluster"],
)
def test_it_opens_without_any_server(url: str, kind: type[Any], settings: LazySettings) -> None:
    settings.CACHES = {"default": alias(url)}
    assert type(current_store()) is kind


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"CLIENT_CLASS": "django_redis.client.ShardClient"}, "ClusterConnectionFactory"),
        ({"REDIS_CLIENT_CLASS": "redis.cluster.RedisCluster"}, "ClusterConnectionFactory"),
        ({"CONNECTION_FACTORY": f"{__name__}.Stranger"}, "opens a object"),
    ],
)
def test_it_refuses_what_it_does_not_know(options: dict[str, str], told: str, settings: LazySettings) -> None:
    cache = {**alias("redis://127.0.0.1:1/0"), "OPTIONS": options}
    settings.CACHES = {"default": cache}
    with pytest.raises(SettingsError, match=told):
        current_store()


class Stranger(ClusterConnectionFactory):
    """Makes clients of a kind of its own."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__({**options, "REDIS_CLIENT_CLASS": "redis.Redis"})

    def connect(self, url: str) -> object:
        return object()


@pytest.fixture(params=KINDS)
def cluster(
    request: pytest.FixtureRequest, start_cluster: Callable[..., DisposableCluster]
) -> DisposableCluster:
    return start_cluster(
        kind=request.param, replicas=0, options=("--requirepass", "secret", "--masterauth", "secret")
    )


def test_an_alias_of_a_cluster_serves_django_and_perfkit(
    cluster: DisposableCluster, settings: LazySettings
) -> None:
    """With a password, from addresses of which the first is dead."""
    dead = "127.0.0.1", free_port()  # another in each test: django-redis keeps what it has made of an address
    cache = alias(cluster_url([dead, *cluster.addresses]))
    cache["LOCATION"] = cache["LOCATION"].replace("redis://", "redis://:secret@")
    settings.CACHES = {"default": cache}
    django = caches["default"]
    values = {f"name {number}": number for number in range(30)}
    django.set_many(values)
    assert django.get_many(values) == values
    assert django.get("name 7") == 7
    assert django.incr("name 7") == 8
    django.delete_many(["name 7", "name 8"])
    assert django.get("name 7") is None
    store = current_store()
    assert store is not None
    tags = [f"r:default:t:{number}" for number in range(30)]
    assert store.take(tags) == store.tokens(tags)
    store.clear()
    assert django.get("name 9") == 9, "what is Django's stays"
    django.clear()
    assert django.get("name 9") is None
    django.close()
    store.close()
