"""Where entries and tokens live, chosen by the back end of Django's cache alias `PERFKIT["CACHE_ALIAS"]`."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.signals import setting_changed

from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.store.contract import (
    Batch,
    Put,
    Recalled,
    ScriptedStore,
    Store,
    StoredRead,
    StoreError,
    StoreFigures,
)
from perfkit.caching.store.local import LocalStore
from perfkit.conf import options
from perfkit.errors import SettingsError
from perfkit.secrecy import without_secrets

__all__ = [
    "Batch",
    "Put",
    "Recalled",
    "ScriptedStore",
    "Store",
    "StoreError",
    "StoreFigures",
    "StoredRead",
    "current_store",
    "forget_store",
]

_lock: Final = fork_safe_lock()
_stores: dict[str, Store | None] = {}


def current_store() -> Store | None:
    """Return this process's store, or None where the alias is Django's dummy cache (caching is off).

    Raises:
        SettingsError: The alias does not exist, or its back end cannot keep the promise.
    """
    alias = options.CACHE_ALIAS
    try:
        return _stores[alias]
    except KeyError:
        with _lock:
            if alias not in _stores:
                _stores[alias] = _open(alias)
            return _stores[alias]


def forget_store() -> None:
    """Make the next read open its store anew, as after a change of settings."""
    forgotten = list(_stores.values())
    _stores.clear()
    for store in forgotten:
        if store is not None:
            store.close()


def _open(alias: str) -> Store | None:
    try:
        cache = caches[alias]
    except InvalidCacheBackendError as error:
        text = f"names {alias!r}, which cannot be opened: {without_secrets(str(error))}"
        raise SettingsError("CACHE_ALIAS", text) from error
    if isinstance(cache, DummyCache):
        return None
    if isinstance(cache, LocMemCache):
        return LocalStore()
    backend = settings.CACHES[alias]["BACKEND"]
    try:
        from django_redis.cache import RedisCache
    except ImportError as error:
        raise _unsupported(alias, backend) from error
    if not isinstance(cache, RedisCache):
        raise _unsupported(alias, backend)
    from perfkit.caching.store.alias import UnusableAliasError, store_behind

    prefix, timeout_seconds = options.CACHE_KEY_PREFIX, options.CACHE_TIMEOUT
    try:
        return store_behind(cache, prefix=prefix, timeout_seconds=timeout_seconds)
    except UnusableAliasError as error:
        raise SettingsError("CACHE_ALIAS", f"names {alias!r}, which {error}") from error


def _unsupported(alias: str, backend: str) -> SettingsError:
    return SettingsError(
        "CACHE_ALIAS",
        f"names {alias!r}, whose back end {backend} is not supported. "
        "Use django_redis.cache.RedisCache, or LocMemCache for one process.",
    )


def _settings_changed(*, setting: str, **_: object) -> None:
    if setting in {"CACHES", "PERFKIT"}:
        forget_store()


setting_changed.connect(_settings_changed, dispatch_uid="perfkit.caching.store")
