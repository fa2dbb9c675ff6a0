"""What lets django-redis itself use a cluster, which its releases cannot do alone."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

from django_redis.pool import ConnectionFactory
from redis.cluster import RedisCluster

from perfkit.caching.locks import fork_safe_lock


class ClusterClient(RedisCluster):
    """redis-py's client, with the one command that django-redis expects to be spread over slots."""

    def mget(self, keys: Any, *args: Any) -> Any:
        """Return the values of keys wherever they are, each as it is at its own moment."""
        return self.mget_nonatomic(keys, *args)


class ClusterConnectionFactory(ConnectionFactory):  # type: ignore[misc]  # django-redis has no types
    """Opens the cluster that the node at `LOCATION` belongs to.

    For `OPTIONS["CONNECTION_FACTORY"]` of a `django_redis.cache.RedisCache`.
    Further nodes, for when that one is dead, are the `startup_nodes` among `OPTIONS["REDIS_CLIENT_KWARGS"]`.
    The other options of the alias are those of a single server; `REDIS_CLIENT_CLASS` may be a subclass of
    redis-py's `RedisCluster`.
    perfkit takes the addresses and the connection settings from here, and speaks to the nodes on its own.
    """

    _clients: ClassVar[dict[str, Any]] = {}
    _clients_lock: ClassVar = fork_safe_lock()

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__({"REDIS_CLIENT_CLASS": f"{__name__}.{ClusterClient.__qualname__}", **options})

    def connect(self, url: str) -> Any:
        """Return the client of a cluster that the node at `url` belongs to; one in a process."""
        with self._clients_lock:
            if url not in self._clients:
                self._clients[url] = self._made(url)
            return self._clients[url]

    def disconnect(self, connection: Any) -> None:
        """Close what is not in use."""
        connection.disconnect_connection_pools()

    def _made(self, url: str) -> Any:
        settings = dict(self.make_connection_params(url))
        settings.pop("parser_class")  # a cluster's own
        settings["url"] = urlunsplit(urlsplit(settings["url"])._replace(path=""))
        settings |= {**self.pool_cls_kwargs, **self.redis_client_cls_kwargs}
        settings["startup_nodes"] = list(settings.get("startup_nodes", ()))  # redis-py adds to it
        return self.redis_client_cls(**settings)
