"""Batches that several hosts want at once: one fills each, and the others do something else meanwhile."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from itertools import chain
from typing import Final

from perfkit.caching.bypass import Bypass
from perfkit.caching.coherence import breaker
from perfkit.caching.flights import waits
from perfkit.caching.store import Store, StoreError, current_store
from perfkit.caching.warming.batches import Batch, Filled, Manner
from perfkit.conf import options

LEASE_SECONDS: Final = 60
"""Who fills a batch for longer may be dead: another one may fill it then."""


def filled_alone(batch: Batch, manner: Manner) -> Filled | None:
    """Fill a batch, unless another process or thread is filling it at this moment: then return None.

    What is made anew in any case is nobody's alone.

    Raises:
        As `Batch.fill`.
    """
    store = _store()
    if manner.force:
        return batch.fill(manner)
    name = _lease_name(batch)
    if not store.lease(name, lease_ms=int(LEASE_SECONDS * 1000)):
        return None
    try:
        return batch.fill(manner)
    finally:
        _released(store, name)


def filled_anyway(batch: Batch, manner: Manner) -> Filled:
    """Fill a batch, whoever else may be filling it; afterwards it is nobody's.

    Raises:
        As `Batch.fill`.
    """
    filled = batch.fill(manner)
    _released(_store(), _lease_name(batch))
    return filled


def filled_after_others(batch: Batch, manner: Manner, is_stopped: Callable[[], bool]) -> Filled:
    """Fill what another one has left of a batch, once it is done or its lease is over.

    Args:
        is_stopped: Whether to wait no longer, and fill nothing.

    Raises:
        As `Batch.fill`.
    """
    for wait in chain([0.0], waits(2 * LEASE_SECONDS)):
        time.sleep(wait)
        if is_stopped():
            return Filled()
        filled = filled_alone(batch, manner)
        if filled is not None:
            return filled
    return filled_anyway(batch, manner)


def _store() -> Store:
    store = current_store() if options.CACHE_ENABLED else None
    if store is None:
        raise Bypass("disabled")
    return store


def _lease_name(batch: Batch) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for key in batch.keys():  # noqa: SIM118  # it is no mapping
        digest.update(key.encode("utf-8", "surrogatepass") + b"\0")
    return f"w:{digest.hexdigest()}"


def _released(store: Store, name: str) -> None:
    try:
        store.release(name)
    except StoreError as error:
        breaker.failed(str(error))  # it ends by itself
