"""Voiding what is kept under names and tags: at once, or with the transaction that is open.

# Note [When a tag is void]
Outside of transactions a tag is void when the call returns.
Inside one it goes with what the transaction writes: marked before COMMIT, void after it, whatever crashes between,
and a rollback leaves it alone.
Where the server cannot be told, the tags go into the outbox of the default database, whose rows every process
looks at before it trusts the cache again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from perfkit.caching import tokens
from perfkit.caching.coherence import breaker, outbox
from perfkit.caching.databases import is_watchable
from perfkit.caching.outbox import OutboxMissingError
from perfkit.caching.scope import forget_everywhere
from perfkit.caching.silence import LOOK_EVERY_SECONDS
from perfkit.caching.store import StoreError, current_store
from perfkit.caching.trust import warn_once
from perfkit.caching.writes import opened_connections, tracker_of
from perfkit.conf import options
from perfkit.errors import CacheUnavailableError


def void_with_transaction(tags: Iterable[str]) -> None:
    """Void everything that depends on one of `tags`; see Note [When a tag is void].

    Queries:
        None; one round trip outside of transactions. In an outage one INSERT.

    Raises:
        CacheUnavailableError: The server cannot be told, and the setting refuses that,
            or the default database can keep no outbox; what was kept under the tags may still be shown.
    """
    wanted = frozenset(tags)
    if not wanted:
        return
    is_open = False
    for connection in opened_connections():
        tracker = tracker_of(connection)
        if tracker is not None and tracker.visibility.in_transaction:
            tracker.wrote(wanted, is_own=False)
            is_open = True
            if connection.alias != DEFAULT_DB_ALIAS:  # in an outage its own outbox would hold them
                transaction.on_commit(partial(void_now, wanted), using=connection.alias)
    if not is_open:
        void_now(wanted)


def open_transactions() -> list[str]:
    """Return the aliases of the databases on which this thread has a transaction open."""
    return [
        connection.alias
        for connection in opened_connections()
        if (tracker := tracker_of(connection)) is not None and tracker.visibility.in_transaction
    ]


def void_now(tags: Iterable[str]) -> None:
    """Void everything that depends on one of `tags`, whatever transaction is open."""
    wanted = sorted(tags)
    store = current_store()
    if store is None:
        return
    forget_everywhere(wanted)
    problem = "it has not answered lately"
    if breaker.allows():
        try:
            store.void(wanted)
        except StoreError as error:
            problem = str(error)
            breaker.failed(problem)
        else:
            breaker.succeeded()
            forget_everywhere(wanted)
            return
    _leave(wanted, problem)
    forget_everywhere(wanted)


def _leave(tags: list[str], problem: str) -> None:
    """Put tags into the outbox of the default database."""
    if options.CACHE_OUTAGE_WRITES == "refuse":
        raise CacheUnavailableError(problem)
    connection = connections[DEFAULT_DB_ALIAS]
    if not is_watchable(connection):
        raise CacheUnavailableError(f"{problem}, and the default database keeps no outbox")
    try:
        with transaction.atomic(using=DEFAULT_DB_ALIAS):
            outbox.put(connection, tags, writer=tokens.new_writer())
    except OutboxMissingError as error:
        warn_once(str(error))  # no reader trusts the cache
        return
    outbox.look_again(DEFAULT_DB_ALIAS)
    if options.CACHE_OUTAGE_WRITES == "wait":
        time.sleep(LOOK_EVERY_SECONDS)
