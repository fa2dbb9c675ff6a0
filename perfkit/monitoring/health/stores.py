"""The check of the cache server, without which perfkit goes on, at the database's speed."""

from __future__ import annotations

from django.core.cache import caches

from perfkit.caching.store import StoreError, current_store
from perfkit.conf import options
from perfkit.errors import SettingsError
from perfkit.monitoring.health.registry import health_check
from perfkit.monitoring.health.results import Finding, failed
from perfkit.secrecy import told

UNLIKELY_KEY = "perfkit.health"


@health_check("cache")
def check_cache() -> Finding | str | None:
    """Ask the server of `CACHE_ALIAS` whether it takes what it is told, and once more where it does not."""
    try:
        store = current_store()
    except SettingsError:
        # One that perfkit cannot use, which a project may have for itself.
        caches[options.CACHE_ALIAS].get(UNLIKELY_KEY)
        return None
    if store is None:
        return "there is none"
    if not store.is_shared:
        return "it is inside this process"
    try:
        store.probe()
    except StoreError:
        try:
            store.probe()
        except StoreError as error:
            return failed(told(error))
    return None
