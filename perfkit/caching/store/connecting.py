"""The project's connection settings, with time limits and retries of our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool


def hasty(settings: Mapping[str, Any], *, timeout_seconds: float) -> dict[str, Any]:
    """Return settings of a connection that gives up soon, and leaves it to us whether anything is tried again."""
    return {
        **settings,
        "decode_responses": False,
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "retry_on_error": [],
        "health_check_interval": 0,
    }


def hasty_sentinels(pool: SentinelConnectionPool, *, timeout_seconds: float) -> SentinelConnectionPool:
    """Return a pool that asks the same sentinels for the same primary, none of them for longer than that.

    Redis-py's own waits for a dead sentinel, again and again, before it asks the next one.
    """
    given = pool.sentinel_manager
    limits = {
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
    }
    addresses = [sentinel.connection_pool.connection_kwargs for sentinel in given.sentinels]
    manager = Sentinel(  # type: ignore[no-untyped-call]
        [(address["host"], address["port"]) for address in addresses],
        min_other_sentinels=given.min_other_sentinels,
        sentinel_kwargs={**given.sentinel_kwargs, **limits},
    )
    return SentinelConnectionPool(pool.service_name, manager)  # type: ignore[no-untyped-call]
