"""What a connection's reads may see that others do not, or do not see yet: by its transaction and its session."""

from __future__ import annotations

from typing import Any, Final
from weakref import WeakSet

from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.caching.registry import tracked_tables
from perfkit.caching.sessions import Settings

READ_COMMITTED: Final = 2
"""`psycopg.IsolationLevel.READ_COMMITTED`; higher levels keep a snapshot."""

OPEN: Final = (1, 2, 3)
"""`psycopg.pq.TransactionStatus.ACTIVE`, `INTRANS` and `INERROR`; not `IDLE`, nor `UNKNOWN` (it is lost)."""

_changed_sessions: Final[WeakSet[Any]] = WeakSet()
"""The driver's connections with a session of their own: a pool may hand them to others."""


class Visibility:
    """Whether one connection is in a transaction, reads from an old snapshot, or has a session of its own."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._isolation_was_set = False
        self._isolation_was_set_for_session = False
        self._snapshot_by_default: bool | None = None
        self._session_was_changed = False
        self._session_was_changed_locally = False

    @property
    def in_transaction(self) -> bool:
        """Whether statements wait for a COMMIT; a BEGIN that was sent as a statement counts too."""
        connection = self._connection
        if connection.in_atomic_block:
            return True
        if connection.connection is None:
            return not connection.settings_dict["AUTOCOMMIT"]
        return not connection.autocommit or driver_is_in_transaction(connection)

    @property
    def is_marked(self) -> bool:
        """Whether something was noted that the end of the transaction undoes."""
        return self._isolation_was_set or self._session_was_changed_locally

    @property
    def keeps_snapshot(self) -> bool:
        """Whether the open transaction may see less than what others have committed since it began."""
        return self.in_transaction and (
            self._isolation_was_set or self._isolation_was_set_for_session or self._asks_for_snapshots()
        )

    @property
    def has_own_session(self) -> bool:
        """Whether a setting of this session may make it see other rows or values than sessions of its alias do."""
        if self._connection.connection is None:
            return False  # the next one is another, or is known again from its pool
        return self._session_was_changed or (self._session_was_changed_locally and self.in_transaction)

    @property
    def is_common(self) -> bool:
        """Whether reads see what all others see: outside of transactions, in a session like others."""
        connection = self._connection
        if connection.connection is None:
            return not self.in_transaction
        if self._session_was_changed or connection.in_atomic_block or not connection.autocommit:
            return False
        return not driver_is_in_transaction(connection)

    def note(self, sets: Settings) -> None:
        """Note what a statement is about to set; even a text that fails may have set it before."""
        if sets.session or not sets.temporary.isdisjoint(tracked_tables()):
            self._session_was_changed = True
            if self._connection.vendor == "postgresql" and self._connection.connection is not None:
                _changed_sessions.add(self._connection.connection)
        self._session_was_changed_locally |= sets.transaction
        self._isolation_was_set |= sets.isolation
        self._isolation_was_set_for_session |= sets.isolation_of_session

    def transaction_ended(self) -> None:
        """Forget what held for the transaction alone."""
        self._isolation_was_set = False
        self._session_was_changed_locally = False

    def reconnected(self) -> None:
        """Forget what belonged to the session that is gone; one from a pool may have been used before."""
        self.transaction_ended()
        self._isolation_was_set_for_session = False
        self._snapshot_by_default = None
        self._session_was_changed = self._connection.connection in _changed_sessions

    def _asks_for_snapshots(self) -> bool:
        """Say whether transactions keep one snapshot by default; PostgreSQL is asked once per connection."""
        if self._connection.vendor == "sqlite":
            return True
        if self._snapshot_by_default is None:
            with self._connection.wrap_database_errors:
                [level] = self._connection.connection.execute("SHOW default_transaction_isolation").fetchone()
            self._snapshot_by_default = level not in {"read committed", "read uncommitted"}
        chosen = getattr(self._connection, "isolation_level", None)
        return self._snapshot_by_default or (chosen is not None and int(chosen) > READ_COMMITTED)


def driver_is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Say whether the driver has a transaction open, whoever began it."""
    driver: Any = connection.connection
    if connection.vendor == "sqlite":
        return bool(driver.in_transaction)
    return driver.pgconn.transaction_status in OPEN
