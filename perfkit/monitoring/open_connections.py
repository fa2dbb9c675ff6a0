"""How many connections to databases this process has open, in all of its threads."""

from __future__ import annotations

import os
from typing import Any, Final
from weakref import WeakSet

import msgspec
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from perfkit.caching.locks import fork_safe_lock
from perfkit.postgres import pool_figures

NAME: Final = "perfkit.monitoring.open_connections"

STATES: Final = {0: "idle", 1: "active", 2: "in_transaction", 3: "in_transaction"}
"""By libpq's transaction status; a connection with another one is broken."""


class Connected(msgspec.Struct, frozen=True):
    """The connections of one process to a database.

    Attributes:
        active: With a statement under way.
        in_transaction: In a transaction, without one.
        idle: Neither; those that a pool has for whoever comes next are among them.
    """

    alias: str
    active: int = 0
    in_transaction: int = 0
    idle: int = 0

    @property
    def open(self) -> int:
        """All of them."""
        return self.active + self.in_transaction + self.idle


class OpenConnections:
    """The connections of one process, which Django knows in their own threads only."""

    def __init__(self) -> None:
        self._lock = fork_safe_lock()
        self.begin_anew()

    def begin_anew(self) -> None:
        """Know of none: those of the parent are not this process's."""
        self._known: WeakSet[BaseDatabaseWrapper] = WeakSet()

    def note(self, connection: BaseDatabaseWrapper) -> None:
        """Count a connection for as long as it is open."""
        with self._lock:
            self._known.add(connection)

    def figures(self) -> list[Connected]:
        """Return how many there are by alias; of what has none, nothing.

        Queries:
            None: what the drivers know is enough.
        """
        with self._lock:
            known = list(self._known)
        counts: dict[str, dict[str, int]] = {}
        for connection in known:
            state = state_of(connection)
            if state is not None:
                of_alias = counts.setdefault(connection.alias, {})
                of_alias[state] = of_alias.get(state, 0) + 1
        for alias in connections:
            pool = pool_figures(alias)
            if pool is not None and pool.available:
                of_alias = counts.setdefault(alias, {})
                of_alias["idle"] = of_alias.get("idle", 0) + pool.available
        return [Connected(alias, **numbers) for alias, numbers in sorted(counts.items())]


def state_of(connection: BaseDatabaseWrapper) -> str | None:
    """Return whether a connection is `active`, `in_transaction` or `idle`; None where it is not open."""
    driver: Any = connection.connection
    if driver is None:
        return None
    status = getattr(getattr(driver, "info", None), "transaction_status", None)
    if status is None:  # SQLite's, of which nobody else can say whether a statement is under way
        return "in_transaction" if connection.in_atomic_block else "idle"
    return STATES.get(int(status))


open_connections: Final = OpenConnections()


def install() -> None:
    """Know the connections that this thread has, and each that is opened; calling it again changes nothing.

    Queries: none.
    """
    connection_created.connect(_created, dispatch_uid=NAME)
    for connection in connections.all(initialized_only=True):
        open_connections.note(connection)


def _created(*, connection: BaseDatabaseWrapper, **_: Any) -> None:
    open_connections.note(connection)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=open_connections.begin_anew)
