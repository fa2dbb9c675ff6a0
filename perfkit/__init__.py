"""perfkit makes an existing Django project fast without making it wrong.

Everything public is reached from here or from its room (`perfkit.caching`, `perfkit.bulk`, …).
The names below load their room when they are first asked for, so that importing perfkit is safe anywhere,
also before Django's app registry is ready.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from perfkit.bulk import (
        abulk_copy_out,
        abulk_delete,
        abulk_insert,
        abulk_update,
        abulk_upsert,
        bulk_copy_out,
        bulk_delete,
        bulk_insert,
        bulk_update,
        bulk_upsert,
    )
    from perfkit.caching import (
        TTL,
        CachedManager,
        CachedQuerySet,
        ainvalidate,
        cache,
        cached,
        cached_query,
        invalidate,
        invalidates,
        warm,
        warmer,
    )
    from perfkit.loading.eager_loading import eager

__all__ = [
    "TTL",
    "CachedManager",
    "CachedQuerySet",
    "__version__",
    "abulk_copy_out",
    "abulk_delete",
    "abulk_insert",
    "abulk_update",
    "abulk_upsert",
    "ainvalidate",
    "bulk_copy_out",
    "bulk_delete",
    "bulk_insert",
    "bulk_update",
    "bulk_upsert",
    "cache",
    "cached",
    "cached_query",
    "eager",
    "invalidate",
    "invalidates",
    "warm",
    "warmer",
]

__version__: Final = "0.1.0"

_ROOMS: Final = {
    "CachedManager": "perfkit.caching",
    "CachedQuerySet": "perfkit.caching",
    "TTL": "perfkit.caching",
    "abulk_copy_out": "perfkit.bulk",
    "abulk_delete": "perfkit.bulk",
    "abulk_insert": "perfkit.bulk",
    "abulk_update": "perfkit.bulk",
    "abulk_upsert": "perfkit.bulk",
    "ainvalidate": "perfkit.caching",
    "bulk_copy_out": "perfkit.bulk",
    "bulk_delete": "perfkit.bulk",
    "bulk_insert": "perfkit.bulk",
    "bulk_update": "perfkit.bulk",
    "bulk_upsert": "perfkit.bulk",
    "cache": "perfkit.caching",
    "cached": "perfkit.caching",
    "cached_query": "perfkit.caching",
    "eager": "perfkit.loading",
    "invalidate": "perfkit.caching",
    "invalidates": "perfkit.caching",
    "warm": "perfkit.caching",
    "warmer": "perfkit.caching",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its room."""
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module 'perfkit' has no attribute {name!r}")
    return getattr(import_module(room), name)


def __dir__() -> list[str]:
    """List the public names too."""
    return sorted({*globals(), *__all__})
