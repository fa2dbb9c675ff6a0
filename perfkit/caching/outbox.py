"""The outbox: what the database keeps for readers where the cache server cannot be told.

A writer puts a notice there in its own transaction, that it writes a table in silence; a transaction that was
prepared for later leaves its tags, and so do the triggers that tell of outside writes.
Every process looks into it at a cached read, before it trusts the cache, where its last look is a second ago.
Where requests follow each other quickly it looks at the end of one instead, that none has to wait: `early_looks`.

The look goes straight to the driver's cursor: it is perfkit's own housekeeping, and must not show up in a
project's query counts.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Now

from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.scope import forget_everywhere
from perfkit.caching.silence import LOOK_EVERY_SECONDS, Silence
from perfkit.caching.store import Store
from perfkit.caching.tags import with_any_write
from perfkit.models import PendingInvalidation

LONGEST_WAIT_SECONDS: Final = 0.1
"""For another thread's look, which is a short query; a read that would wait longer goes to the database."""

EARLY_SECONDS: Final = 0.5
"""A look that is due within these may be made at the end of a request, so that none has to wait for it."""

NEWEST_COLUMN: Final = "holds_until"

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
        silence: The notices of this process.
        clock: Seconds that only grow.
    """

    def __init__(self, silence: Silence, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._silence = silence
        self._clock = clock
        self._distrusted: dict[str, frozenset[str]] = {}
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

    def put_notice(self, connection: BaseDatabaseWrapper, tables: Iterable[str], *, writer: str) -> None:
        """Say that `writer` writes tables in silence, in the transaction that is open on `connection`.

        Args:
            tables: Their own tags.

        Raises:
            OutboxMissingError: Migrations have not made the table.
        """
        self._require_table(connection)
        PendingInvalidation.objects.using(connection.alias).create(
            tags=json.dumps(sorted(with_any_write(tables))),
            writer=writer,
            holds_until=Now() + timedelta(seconds=self._silence.notice_seconds),
        )

    def distrusts(self, alias: str, tags: Collection[str]) -> bool:
        """Say whether the last look has found that somebody writes in silence what `tags` are of."""
        distrusted = self._distrusted.get(alias)
        return bool(distrusted) and not distrusted.isdisjoint(tags)  # type: ignore[union-attr]

    def look_again(self, alias: str) -> None:
        """Make the next cached read look, whenever the last look was."""
        self._next_look[alias] = 0.0

    def is_due(self, alias: str) -> bool:
        """Say whether a cached read is to look, or to wait for another one who looks."""
        # In this order: who sees the new time of another thread's look sees that it is looking, too,
        # and who sees that it has ended sees whether it failed.
        now = self._clock()
        return not (
            now < self._next_look.get(alias, 0.0)
            and alias not in self._looking
            and now < self._next_look.get(alias, 0.0)
        )

    def due_soon(self) -> list[str]:
        """Return the aliases of the databases into which a read is to look within `EARLY_SECONDS`, but not yet."""
        now = self._clock()
        return [
            alias
            for alias, due in self._next_look.copy().items()
            if now < due <= now + EARLY_SECONDS and alias not in self._looking
        ]

    def drain(
        self, connection: BaseDatabaseWrapper, store: Store, *, in_transaction: bool, early: bool = False
    ) -> None:
        """Tell `store` what waits in the outbox, if the last look is long enough ago.

        Inside a transaction what was told stays in the table, for the next look outside one to remove.

        Args:
            early: Whether it is long enough ago where the next one is due soon.

        Raises:
            OutboxMissingError: Migrations have not made the table.
            LookUnderWayError: Another thread has been looking for a while.
            StoreError: The server still does not answer; what waits goes on waiting.
        """
        alias = connection.alias
        if not early and not self.is_due(alias):
            return
        ahead = EARLY_SECONDS if early else 0.0
        with self._lock:
            if not self._lock.wait_for(lambda: alias not in self._looking, timeout=LONGEST_WAIT_SECONDS):
                raise LookUnderWayError(alias)
            now = self._clock()
            if now + ahead < self._next_look.get(alias, 0.0):
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
        distrusted: set[str] = set()
        last = 0
        while rows := [Row(*row) for row in _fetch(connection, _select(connection), (last,))]:
            last = rows[-1].id
            held = {row for row in rows if row.is_held}
            own = {row for row in held if row.writer == self._silence.writer(connection.alias)}
            if own and not in_transaction and self._silence.end(connection.alias):
                held -= own  # asked after the rows were read, so that nobody goes on to rely on one of these
            for row in held:
                distrusted.update(json.loads(row.tags))
            over = [row for row in rows if row not in held]
            if over:
                _void(store, over)
                if not in_transaction:
                    _remove(connection, over)
        self._distrusted[connection.alias] = frozenset(distrusted)

    def _require_table(self, connection: BaseDatabaseWrapper) -> None:
        """Raise where the table, or its newest column, is missing; asked once per database.

        It never fails the transaction, for a project must be able to migrate.
        """
        connection.ensure_connection()
        name = str(connection.settings_dict["NAME"])
        if (connection.alias, name) in self._found:
            return
        table = PendingInvalidation._meta.db_table
        if connection.vendor == "sqlite":
            asked = "SELECT 1 FROM pragma_table_info(?) WHERE name = ?"
        else:
            asked = "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s"
        rows = _fetch(connection, asked, (table, NEWEST_COLUMN))
        if not rows:
            raise OutboxMissingError(
                f"the table {table} is missing or old: run `manage.py migrate --database {connection.alias}`"
            )
        self._found.add((connection.alias, name))


class Row(NamedTuple):
    """What waits in the outbox; `is_held` of a notice that has not ended."""

    id: int
    tags: str
    writer: str
    is_held: bool


def _select(connection: BaseDatabaseWrapper) -> str:
    if connection.vendor == "sqlite":
        mark, now = "?", "strftime('%Y-%m-%d %H:%M:%f', 'now')"
    else:
        mark, now = "%s", "clock_timestamp()"
    return (
        f"SELECT id, tags, writer, coalesce(holds_until > {now}, false)"  # noqa: S608  # all constants
        f" FROM {PendingInvalidation._meta.db_table} WHERE id > {mark} ORDER BY id LIMIT {BATCH_ROWS}"
    )


def _void(store: Store, rows: Sequence[Row]) -> None:
    tags = sorted({tag for row in rows for tag in json.loads(row.tags)})
    writers = {row.writer for row in rows}  # the server may have heard of their MARK after all
    for start in range(0, len(tags), MOST_TAGS):
        store.void(tags[start : start + MOST_TAGS], writers=writers)
    forget_everywhere(tags)


def _remove(connection: BaseDatabaseWrapper, rows: Sequence[Row]) -> None:
    marks = ", ".join(["?" if connection.vendor == "sqlite" else "%s"] * len(rows))
    table = PendingInvalidation._meta.db_table
    _fetch(
        connection,
        f"DELETE FROM {table} WHERE id IN ({marks}) RETURNING id",  # noqa: S608  # all constants
        [row.id for row in rows],
    )


def _fetch(connection: BaseDatabaseWrapper, sql: str, params: Any) -> list[Any]:
    with connection.wrap_database_errors:
        return list(connection.connection.execute(sql, params).fetchall())
