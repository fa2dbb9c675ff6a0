"""What PostgreSQL says: its catalogue and estimates, what its version can do; how to connect, or that one cannot.

`database_settings` and `pool_options` are for settings.py, which calls them before Django is up.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from perfkit.postgres.databases import database_settings, pool_options

if TYPE_CHECKING:
    from perfkit.postgres.async_pools import close_async_pools
    from perfkit.postgres.middleware import OutageMiddleware
    from perfkit.postgres.outages import is_outage
    from perfkit.postgres.pools import PoolFigures, pool_figures
    from perfkit.postgres.prepared import may_prepare

__all__ = [
    "OutageMiddleware",
    "PoolFigures",
    "close_async_pools",
    "database_settings",
    "is_outage",
    "may_prepare",
    "pool_figures",
    "pool_options",
]

_MODULES: Final = {
    "OutageMiddleware": "perfkit.postgres.middleware",
    "close_async_pools": "perfkit.postgres.async_pools",
    "PoolFigures": "perfkit.postgres.pools",
    "is_outage": "perfkit.postgres.outages",
    "may_prepare": "perfkit.postgres.prepared",
    "pool_figures": "perfkit.postgres.pools",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'perfkit.postgres' has no attribute {name!r}")
    return getattr(import_module(module), name)
