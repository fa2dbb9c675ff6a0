"""Whether what is kept under a name may be shown now: it may depend on several databases, or on none."""

from __future__ import annotations

from collections.abc import Collection

from django.db import connections

from perfkit.caching.bypass import Bypass
from perfkit.caching.databases import is_watchable
from perfkit.caching.named.databases import current_databases
from perfkit.caching.store import Store, current_store
from perfkit.caching.tags import databases_of
from perfkit.caching.trust import (
    drain_outbox,
    has_distrusted,
    is_outbox_due,
    require_answer,
    sees_open_transaction,
)
from perfkit.caching.writes import opened_trackers, tracker_of
from perfkit.conf import options

_NONE: frozenset[str] = frozenset()


class Trust:
    """What one read has made sure of: whose outboxes were looked into, before it asked for tokens.

    Attributes:
        has_drained: Whether one of them was due, so that what was asked for before it proves nothing.
    """

    def __init__(self) -> None:
        self.has_drained = False
        self._looked: set[str] = set()
        self._is_answered = False
        self._databases = current_databases()

    def usable_store(self, guessed: Collection[str] = _NONE) -> Store:
        """Return the store, where it may be asked now.

        Args:
            guessed: Databases, as tags name them, that the value is likely to depend on.

        Raises:
            Bypass: It may not.
            StoreError: The server does not answer.
        """
        store = current_store() if options.CACHE_ENABLED else None
        if store is None:
            raise Bypass("disabled")
        databases = self._databases
        self.looks_into(store, (databases.default, *[each for each in guessed if each in databases.aliases]))
        return store

    def looks_into(self, store: Store, databases: Collection[str]) -> bool:
        """Look into the outboxes of databases, by the names that tags have for them.

        Returns:
            Whether one of them was new to this read: then tokens that were asked for before prove nothing.

        Raises:
            Bypass: What is in one of them cannot be told.
            StoreError: The server does not answer.
        """
        if not store.is_shared:
            return False
        if not self._is_answered:  # while there is an outage, one read in a while may ask, and it asks on
            require_answer(store)
            self._is_answered = True
        is_new = False
        for database in databases:
            if database not in self._looked:
                self._look_into(store, database)
                self._looked.add(database)
                is_new = True
        return is_new

    def require(self, tags: tuple[str, ...]) -> None:
        """Raise Bypass where what depends on `tags` may not be shown to this thread now, or by anybody."""
        for tracker in opened_trackers():
            if tracker.visibility.is_common:
                continue
            if databases_of(tags):
                sees_open_transaction(tracker, tags)
            elif tracker.visibility.in_transaction and not tracker.pending.isdisjoint(tags):
                raise Bypass("written in this transaction")
        for database in self._looked:
            if self._is_distrusted(database, tags):
                raise Bypass("written in silence")

    def covers(self, tag: str) -> bool:
        """Say whether the look was one for `tag` too, and has found nothing against it."""
        return databases_of((tag,)) <= self._looked and not any(
            self._is_distrusted(database, (tag,)) for database in self._looked
        )

    def _look_into(self, store: Store, database: str) -> None:
        alias = self._databases.aliases.get(database)
        if alias is None:
            raise Bypass("unknown database")
        if not is_outbox_due(alias):
            return
        self.has_drained = True
        connection = connections[alias]
        if is_watchable(connection):
            tracker = tracker_of(connection)
            in_transaction = tracker is not None and tracker.visibility.in_transaction
            drain_outbox(store, connection, (), in_transaction=in_transaction)

    def _is_distrusted(self, database: str, tags: Collection[str]) -> bool:
        return has_distrusted(self._databases.aliases[database], tags)


def require_committed_views() -> None:
    """Raise Bypass where what is made may be of rows that are rolled back yet, or that others do not see."""
    for tracker in opened_trackers():
        if tracker.has_written:
            raise Bypass("transaction has written")
        sees_open_transaction(tracker, ())


def is_in_transaction() -> bool:
    """Say whether others may wait for locks of this reader, who must not wait for them in turn."""
    return any(tracker.visibility.in_transaction for tracker in opened_trackers())


def is_at_rest() -> bool:
    """Say whether this thread sees what all others see, outside of transactions."""
    for tracker in opened_trackers():  # noqa: SIM110  # a generator takes twice the time, on each hit
        if not tracker.visibility.is_common:
            return False
    return True
