"""Settings of the cache alias for each kind of server, named by one text that processes can be given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redis.cluster import ClusterNode

CLUSTER = "redis+cluster://"
SENTINEL = "redis+sentinel://"


def cluster_url(addresses: Iterable[tuple[str, int]]) -> str:
    """Name a cluster by some of its nodes."""
    return CLUSTER + ",".join(f"{host}:{port}" for host, port in addresses)


def sentinel_url(addresses: Iterable[tuple[str, int]], service: str) -> str:
    """Name the primary of a service by the sentinels that watch it."""
    return SENTINEL + ",".join(f"{host}:{port}" for host, port in addresses) + f"/{service}"


def alias(url: str) -> dict[str, Any]:
    """Return the entry of CACHES that leads to what `url` names, as the documentation tells to write it."""
    cache: dict[str, Any] = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}
    if url.startswith(CLUSTER):
        first, *others = url.removeprefix(CLUSTER).split(",")
        pairs = (node.rsplit(":", 1) for node in others)
        cache["LOCATION"] = f"redis://{first}"
        cache["OPTIONS"] = {
            "CONNECTION_FACTORY": "perfkit.caching.ClusterConnectionFactory",
            "REDIS_CLIENT_KWARGS": {"startup_nodes": [ClusterNode(host, int(port)) for host, port in pairs]},
        }
    elif url.startswith(SENTINEL):
        nodes, _, service = url.removeprefix(SENTINEL).partition("/")
        pairs = (node.rsplit(":", 1) for node in nodes.split(","))
        cache["LOCATION"] = f"redis://{service}/0"
        cache["OPTIONS"] = {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
            "SENTINELS": [(host, int(port)) for host, port in pairs],
        }
    return cache
