"""The outbox: invalidations kept in the database while the cache server cannot be reached.

A writer puts its tags there in its own transaction.
Every process looks into it at most once a second, at a cached read, and tells the server what it finds before
it trusts the cache again.

The look goes straight to the driver's cursor: it is perfkit's own housekeeping, and must not show up in a
project's query counts.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.scope import forget_everywhere
from perfkit.caching.store import Store
from perfkit.models import PendingInvalidation

LOOK_EVERY_SECONDS: Final = 1.0
"""The bound on staleness elsewhere after a write during an outage."""

LONGEST_WAIT_SECONDS: Final = 0.1
"""For another thread's look, which is a short query; a read that would wait longer goes to the database."""

BATCH_ROWS: Final = 500
MOST_TAGS: Final = 1000
"""More are told in several calls, so that none lasts longer than the store's timeout."""


class OutboxMissingError(Exception):
    """The outbox table has not been made in this database. Never leaves the caching room."""


class LookUnderWayError(Exception):
    """Another thread is looking into the outbox: what it finds is not told yet. Never leaves the caching room."""


class Outbox:
    """Looks into the outbox of each database, once in a while.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Condition(fork_safe_lock())
        self._next_look: dict[str, float] = {}
        self._found: set[tuple[str, str]] = set()
        self._looking: set[str] = set()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._looking.clear)

    def put(self, connection: BaseDatabaseWrapper, tags: Iterable[str], *, writer: str) -> None:
        """Keep what `writer` could not tell, in the transaction that is open on `connection`.

        Raises:
            OutboxMissingError: Migrations have not made the table.
        """
        self._require_table(connection)
        PendingInvalidation.objects.using(connection.alias).create(
            tags=json.dumps(sorted(tags)), writer=writer
        )

    def look_again(self, alias: str) -> None:
        """Make the next cached read look, whenever the last look was."""
        self._next_look[alias] = 0.0

    def drain(self, connection: BaseDatabaseWrapper, store: Store, *, in_transaction: bool) -> None:
        """Tell `store` what waits in the outbox, if the last look is long enough ago.

        Inside a transaction what was told stays in the table, for the next look outside one to remove.

        Raises:
            OutboxMissingError: Migrations have not made the table.
            LookUnderWayError: Another thread has been looking for a while.
            StoreError: The server still does not answer; what waits goes on waiting.
        """
        alias = connection.alias
        # In this order: who sees the new time of another thread's look sees that it is looking, too,
        # and who sees that it has ended sees whether it failed.
        now = self._clock()
        if (
            now < self._next_look.get(alias, 0.0)
            and alias not in self._looking
            and now < self._next_look.get(alias, 0.0)
        ):
            return
        with self._lock:
            if not self._lock.wait_for(lambda: alias not in self._looking, timeout=LONGEST_WAIT_SECONDS):
                raise LookUnderWayError(alias)
            now = self._clock()
            if now < self._next_look.get(alias, 0.0):
                return
            self._looking.add(alias)
            self._next_look[alias] = now + LOOK_EVERY_SECONDS
        try:
            self.tell(connection, store, in_transaction=in_transaction)
        except BaseException:
            self.look_again(alias)
            raise
        finally:
            with self._lock:
                self._looking.discard(alias)
                self._lock.notify_all()

    def tell(self, connection: BaseDatabaseWrapper, store: Store, *, in_transaction: bool = False) -> None:
        """Tell `store` what waits in the outbox, whenever the last look was and whoever looks meanwhile.

        Raises:
            OutboxMissingError: Migrations have not made the table.
            StoreError: The server does not answer; what waits goes on waiting.
        """
        self._require_table(connection)
        table = PendingInvalidation._meta.db_table
        mark = "?" if connection.vendor == "sqlite" else "%s"
        select = f"SELECT id, tags, writer FROM {table} WHERE id > {mark} ORDER BY id LIMIT {BATCH_ROWS}"  # noqa: S608  # all constants
        delete = f"DELETE FROM {table} WHERE id IN ({{}}) RETURNING id"  # noqa: S608  # likewise
        last = 0
        while True:
            rows = _fetch(connection, select, (last,))
            if not rows:
                return
            last = rows[-1][0]
            found = sorted({tag for _, tags, _ in rows for tag in json.loads(tags)})
            writers = {writer for _, _, writer in rows}  # the server may have heard of their MARK after all
            for start in range(0, len(found), MOST_TAGS):
                store.void(found[start : start + MOST_TAGS], writers=writers)
            forget_everywhere(found)
            if not in_transaction:
                marks = ", ".join([mark] * len(rows))
                _fetch(connection, delete.format(marks), [row_id for row_id, *_ in rows])

    def _require_table(self, connection: BaseDatabaseWrapper) -> None:
        """Raise where the table is missing; asked once per database, and never fails the transaction."""
        connection.ensure_connection()
        name = str(connection.settings_dict["NAME"])
        if (connection.alias, name) in self._found:
            return
        table = PendingInvalidation._meta.db_table
        if connection.vendor == "sqlite":
            rows = _fetch(
                connection, "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
            )
        else:
            rows = _fetch(connection, "SELECT 1 WHERE to_regclass(%s) IS NOT NULL", (table,))
        if not rows:
            raise OutboxMissingError(
                f"the table {table} is missing: run `manage.py migrate --database {connection.alias}`"
            )
        self._found.add((connection.alias, name))


def _fetch(connection: BaseDatabaseWrapper, sql: str, params: Any) -> list[Any]:
    with connection.wrap_database_errors:
        return list(connection.connection.execute(sql, params).fetchall())
