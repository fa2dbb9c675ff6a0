"""Looks into the outbox at the end of a request, so that the next ones need not: their answers are sent sooner."""

from __future__ import annotations

from asyncio import _get_running_loop
from collections.abc import Sequence
from typing import Any

from django.db import connections

from perfkit.conf import options
from perfkit.modules import loaded


def look_early(**_: Any) -> None:
    """Look into the outboxes that the reads of the next request would have to look into; of `request_finished`.

    Only where requests follow each other quickly: a process that rests looks when it is asked.

    Queries:
        One in half a second at most, past Django's cursor.
    """
    coherence = loaded("perfkit.caching.coherence")  # it loads a client, so only who reads imports it
    soon = None if coherence is None else coherence.outbox.due_soon()
    if soon and options.CACHE_ENABLED and _get_running_loop() is None:
        _look_into(soon)


def _look_into(aliases: Sequence[str]) -> None:
    from perfkit.caching.bypass import Bypass
    from perfkit.caching.coherence import breaker, outbox
    from perfkit.caching.store import StoreError, current_store
    from perfkit.caching.trust import drain_outbox

    store = current_store()
    if store is None or not store.is_shared or breaker.is_open:
        return
    for alias in aliases:
        connection = connections[alias]
        if connection.in_atomic_block or not connection.settings_dict["AUTOCOMMIT"]:
            continue
        was_open = connection.connection is not None
        try:
            drain_outbox(store, connection, (), in_transaction=False, early=True)
        except (Bypass, StoreError):
            outbox.look_again(alias)  # the next read finds out by itself, and tells
        if not was_open:
            connection.close_if_unusable_or_obsolete()  # Django has closed its own already
