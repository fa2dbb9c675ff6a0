"""Cached reads that are never stale: managers, tags and tokens, the store, warming.

A read that starts after a commit has returned to its writer never yields an older value.
The names below load what they need when they are first asked for, so that starting Django does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from perfkit.caching.manager import CachedManager
    from perfkit.caching.query_functions import cached_query
    from perfkit.caching.queryset import CachedQuerySet
    from perfkit.caching.scope import token_scope
    from perfkit.caching.warming import WarmResult, warm, warmer

__all__ = ["CachedManager", "CachedQuerySet", "WarmResult", "cached_query", "token_scope", "warm", "warmer"]

_MODULES: Final = {
    "CachedManager": "perfkit.caching.manager",
    "CachedQuerySet": "perfkit.caching.queryset",
    "cached_query": "perfkit.caching.query_functions",
    "WarmResult": "perfkit.caching.warming",
    "token_scope": "perfkit.caching.scope",
    "warm": "perfkit.caching.warming",
    "warmer": "perfkit.caching.warming",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'perfkit.caching' has no attribute {name!r}")
    return getattr(import_module(module), name)
