"""Cached reads that are never stale: managers, tags and tokens, the store, warming, statistics.

A read that starts after a commit has returned to its writer never yields an older value.
The names below load what they need when they are first asked for, so that starting Django does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from perfkit.caching.functions.cached import CachedFunction, cached
    from perfkit.caching.functions.invalidates import ainvalidate, invalidate, invalidates
    from perfkit.caching.manager import CachedManager
    from perfkit.caching.named.cache import cache
    from perfkit.caching.named.ttl import TTL
    from perfkit.caching.query_functions import cached_query
    from perfkit.caching.queryset import CachedQuerySet
    from perfkit.caching.reports import CacheStatistics, ReadStatistics, astatistics, statistics
    from perfkit.caching.responses.decorator import cache_response
    from perfkit.caching.scope import token_scope
    from perfkit.caching.store import StoreFigures
    from perfkit.caching.store.connection_factory import ClusterConnectionFactory
    from perfkit.caching.warming.runs import WarmResult, warm
    from perfkit.caching.warming.warmers import Answer, warmer

__all__ = [
    "TTL",
    "Answer",
    "CacheStatistics",
    "CachedFunction",
    "CachedManager",
    "CachedQuerySet",
    "ClusterConnectionFactory",
    "ReadStatistics",
    "StoreFigures",
    "WarmResult",
    "ainvalidate",
    "astatistics",
    "cache",
    "cache_response",
    "cached",
    "cached_query",
    "invalidate",
    "invalidates",
    "statistics",
    "token_scope",
    "warm",
    "warmer",
]

_MODULES: Final = {
    "CacheStatistics": "perfkit.caching.reports",
    "TTL": "perfkit.caching.named.ttl",
    "CachedFunction": "perfkit.caching.functions.cached",
    "ainvalidate": "perfkit.caching.functions.invalidates",
    "cache": "perfkit.caching.named.cache",
    "cache_response": "perfkit.caching.responses.decorator",
    "cached": "perfkit.caching.functions.cached",
    "invalidate": "perfkit.caching.functions.invalidates",
    "invalidates": "perfkit.caching.functions.invalidates",
    "CachedManager": "perfkit.caching.manager",
    "CachedQuerySet": "perfkit.caching.queryset",
    "ClusterConnectionFactory": "perfkit.caching.store.connection_factory",
    "cached_query": "perfkit.caching.query_functions",
    "Answer": "perfkit.caching.warming.warmers",
    "ReadStatistics": "perfkit.caching.reports",
    "StoreFigures": "perfkit.caching.store",
    "WarmResult": "perfkit.caching.warming.runs",
    "astatistics": "perfkit.caching.reports",
    "statistics": "perfkit.caching.reports",
    "token_scope": "perfkit.caching.scope",
    "warm": "perfkit.caching.warming.runs",
    "warmer": "perfkit.caching.warming.warmers",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'perfkit.caching' has no attribute {name!r}")
    return getattr(import_module(module), name)
