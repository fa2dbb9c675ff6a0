"""Connections to databases that are kept from one task to the next, as Django keeps them between requests.

Celery closes them before and after each task unless `CELERY_DB_REUSE_MAX` says otherwise, and then looks at none.
This does what Django does around a request: `CONN_MAX_AGE` decides which are closed after a task.
One that is kept is looked at before the next task, whatever `CONN_HEALTH_CHECKS` says, for nobody reloads a task:
without a trip where it was in use a moment ago and its server has said nothing since, and by a statement before
the first of the task's own where it has, or where it was idle for longer.
"""

from __future__ import annotations

import select
import time
from typing import Any, Final
from weakref import WeakKeyDictionary

from celery.signals import task_postrun, task_prerun, worker_process_init
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

IDLE_SECONDS: Final = 30.0
"""After so long something between here and the server may have forgotten a connection, and not said so."""

_used_at: Final[WeakKeyDictionary[BaseDatabaseWrapper, float]] = WeakKeyDictionary()
"""When a task that had it open has ended."""

inherited: Final[list[Any]] = []
"""Pools of the process that this one was forked from, which must neither be used nor closed here."""


def install() -> None:
    """Have every task of this process find connections that work; calling it again changes nothing."""
    for signal, receiver in (
        (task_prerun, _begin),
        (task_postrun, _end),
        (worker_process_init, leave_inherited_pools),
    ):
        signal.connect(receiver, weak=False, dispatch_uid=f"perfkit.tasks.connections.{receiver.__name__}")


def _begin(*, task: Any, **_: Any) -> None:
    if not task.request.is_eager:
        look_at_connections()


def _end(*, task: Any, **_: Any) -> None:
    if not task.request.is_eager:
        leave_connections()


def look_at_connections() -> None:
    """Close those of this thread that are broken or too old, and have the others checked where they may be broken.

    Queries:
        None; one for each that is used and may be broken, before its first statement.
    """
    now = time.monotonic()
    for connection in _kept():
        connection.health_check_enabled = True
        was_used_lately = now - _used_at.get(connection, -IDLE_SECONDS) < IDLE_SECONDS
        connection.health_check_done = was_used_lately and is_silent(connection)


def leave_connections() -> None:
    """Close those of this thread that are broken, or older than `CONN_MAX_AGE`."""
    now = time.monotonic()
    for connection in _kept():
        _used_at[connection] = now


def is_silent(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether the server has neither closed an open connection nor sent anything that nobody has read.

    False where that cannot be told without a statement. It takes no trip.
    """
    if connection.vendor != "postgresql":
        return False
    poll = select.poll()
    poll.register(connection.connection.fileno(), select.POLLIN)
    return not poll.poll(0)


def leave_inherited_pools(**_: Any) -> None:
    """Have a process that was forked make pools of its own."""
    for connection in connections.all():
        pools: dict[str, Any] = getattr(connection, "_connection_pools", {})
        inherited.extend(pools.values())
        pools.clear()


def _kept() -> list[Any]:
    """Return the open connections of this thread, without those that Django would close now."""
    kept = []
    connection: Any  # the stubs do not know what Django's own checks go by
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            continue
        connection.close_if_unusable_or_obsolete()
        settings = connection.settings_dict
        if settings["OPTIONS"].get("pool") and not settings["CONN_HEALTH_CHECKS"]:
            # Its pool would lend connections that nobody has looked at.
            connection.close()
            connection.close_pool()
        if connection.connection is not None:
            kept.append(connection)
    return kept
