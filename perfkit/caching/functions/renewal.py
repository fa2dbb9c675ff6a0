"""Values made anew in the background, shortly before they end, by one of all processes."""

from __future__ import annotations

import contextvars
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from django.db import connections
from django.utils import timezone, translation

from perfkit.caching.coherence import breaker
from perfkit.caching.flights import durations
from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.recorder import recorded_by
from perfkit.caching.scope import token_scope
from perfkit.caching.store import StoreError, current_store
from perfkit.making import apart_from_run

logger: Final = logging.getLogger("perfkit.caching")

WORKERS: Final = 2
MOST_KEPT: Final = 10_000

_lock: Final = fork_safe_lock()
_begun: Final[dict[str, float]] = {}
"""By key: when this process may try to renew it again, on the monotonic clock."""
_pools: Final[dict[int, ThreadPoolExecutor]] = {}
"""By process, for a fork has none of its parent's threads."""


def renew(key: str, name: str, make: Callable[[], Any]) -> None:
    """Have `make` run in a thread of this process, unless somebody does the same already.

    Args:
        key: Of the entry that it fills.
        name: Of what takes about as long.
        make: Makes the value and stores it; the language and time zone are those of this moment.
    """
    seconds = durations.lease_seconds(name)
    now = time.monotonic()
    with _lock:
        if _begun.get(key, 0.0) > now:
            return
        if len(_begun) >= MOST_KEPT:
            _begun.clear()
        _begun[key] = now + seconds
    store = current_store()
    try:
        if store is None or not store.lease(f"renew:{key}", lease_ms=int(seconds * 1000)):
            return
    except StoreError as error:
        breaker.failed(str(error))
        return
    context = contextvars.copy_context()  # what the project keeps there, a tenant perhaps
    language, zone = translation.get_language(), timezone.get_current_timezone()
    _pool().submit(context.run, _renewed, key, name, make, language, zone)


def _pool() -> ThreadPoolExecutor:
    with _lock:
        pool = _pools.get(os.getpid())
        if pool is None:
            _pools.clear()
            pool = _pools[os.getpid()] = ThreadPoolExecutor(WORKERS, thread_name_prefix="perfkit-renewal")
        return pool


def _renewed(key: str, name: str, make: Callable[[], Any], language: str | None, zone: Any) -> None:
    try:
        with (
            apart_from_run(),
            token_scope(),
            recorded_by(None),
            translation.override(language),
            timezone.override(zone),
        ):
            make()
    except Exception:
        logger.exception("%s could not be made anew; the present value ends when its time is over.", name)
    finally:
        connections.close_all()
        with _lock:
            _begun.pop(key, None)
