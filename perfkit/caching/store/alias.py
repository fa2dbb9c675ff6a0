"""Where an alias of django-redis leads: a server, the primary that Sentinel names, or a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import redis
from django.utils.module_loading import import_string
from redis.cluster import RedisCluster

from perfkit.caching.store.cluster import ClusterStore
from perfkit.caching.store.connecting import hasty
from perfkit.caching.store.contract import Store
from perfkit.caching.store.redis import RedisStore
from perfkit.caching.store.topology import Address, Topology

FACTORY: Final = "perfkit.caching.ClusterConnectionFactory"
DEFAULT_PORT: Final = 6379


class UnusableAliasError(Exception):
    """An alias leads to something on which no promise can be kept. Never leaves the caching room."""


def store_behind(cache: Any, *, prefix: str, timeout_seconds: float) -> Store:
    """Return a store on what a `django_redis.cache.RedisCache` leads to; nothing is connected to yet.

    Raises:
        UnusableAliasError: It is something on which no promise can be kept; the text says what to do.
    """
    client = cache.client
    problem = problem_with(getattr(client, "_options", {}))
    if problem:
        raise UnusableAliasError(problem)
    factory = client.connection_factory
    if issubclass(factory.redis_client_cls, RedisCluster):
        return ClusterStore(_topology(client, prefix=prefix, timeout_seconds=timeout_seconds))
    found = client.get_client(write=True)
    if not isinstance(found, redis.Redis):
        raise UnusableAliasError(f"opens a {type(found).__name__}. {_for_a_cluster()}")
    return RedisStore(found, prefix=prefix, timeout_seconds=timeout_seconds)


def problem_with(options: Mapping[str, Any]) -> str:
    """Say what is wrong with the `OPTIONS` of an alias, and what to do; empty where nothing is.

    Raises:
        ImportError: One of them names a class that cannot be imported.
    """
    if any(part.__name__ == "ShardClient" for part in _class(options, "CLIENT_CLASS").__mro__):
        return (
            f"spreads its keys over servers that know nothing of each other (ShardClient). {_for_a_cluster()}"
        )
    client_class = _class(options, "REDIS_CLIENT_CLASS")
    if client_class is RedisCluster and "CONNECTION_FACTORY" not in options:
        return f"has a REDIS_CLIENT_CLASS that django-redis cannot open by itself. {_for_a_cluster()}"
    if client_class is not object and not issubclass(client_class, (redis.Redis, RedisCluster)):
        return f"has a REDIS_CLIENT_CLASS that is none of redis-py's: {options['REDIS_CLIENT_CLASS']}."
    return ""


def _for_a_cluster() -> str:
    return f"For a cluster, set OPTIONS['CONNECTION_FACTORY'] to {FACTORY!r}."


def _class(options: Mapping[str, Any], name: str) -> type[Any]:
    path = options.get(name)
    found = import_string(path) if path else object
    return found if isinstance(found, type) else object


def _topology(client: Any, *, prefix: str, timeout_seconds: float) -> Topology:
    """Return the cluster whose nodes an alias names in its `LOCATION` and its `startup_nodes`."""
    urls = list(client._server)  # noqa: SLF001  # django-redis tells it to nobody
    factory = client.connection_factory
    pool = factory.get_or_create_connection_pool(
        factory.make_connection_params(urls[0])
    )  # connects to nothing
    settings = hasty(pool.connection_kwargs, timeout_seconds=timeout_seconds)
    parts = map(urlsplit, urls)
    addresses = [Address(part.hostname or "localhost", part.port or DEFAULT_PORT) for part in parts]
    more = factory.redis_client_cls_kwargs.get("startup_nodes", ())
    addresses += [Address(node.host, int(node.port)) for node in more]
    return Topology(addresses, pool.connection_class, settings, prefix=prefix)
