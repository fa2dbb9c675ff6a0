"""Begins to measure: with the first connection, request or task, for until then there is nothing to be measured.

What a process loads for it would be a third of what starting perfkit takes: a command that measures nothing need
not wait for it.
"""

from __future__ import annotations

from typing import Any, Final

from django.apps import apps
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from perfkit.caching.locks import fork_safe_rlock

NAME: Final = "perfkit.monitoring.installing"

_lock: Final = fork_safe_rlock()
_steps: Final[list[str]] = []
"""Which of `begun` and `done` it has come to."""


def install() -> None:
    """Have it begin by itself; calling it again changes nothing.

    Queries: none.
    """
    connection_created.connect(_connected, dispatch_uid=NAME)
    is_connected = any(each.connection is not None for each in connections.all(initialized_only=True))
    if is_connected or apps.is_installed("django_prometheus"):
        begin()
    if apps.is_installed("django_prometheus"):  # then prometheus_client is there, which is optional
        from perfkit.monitoring.prometheus import register

        register()


def begin() -> None:
    """Measure in this process what happens from now on; calling it again changes nothing.

    Queries: none.
    """
    if "done" in _steps:
        return
    with _lock:  # others wait: what they do next is to be measured
        if _steps:  # by another thread meanwhile, or by this one, which connects on the way
            return
        _steps.append("begun")
        try:
            from perfkit.monitoring import receivers, recording, statements

            recording.install()
            statements.install()
            receivers.install()
        except BaseException:
            _steps.clear()
            raise
        _steps.append("done")


def _connected(connection: BaseDatabaseWrapper, **_: Any) -> None:
    begin()
    from perfkit.monitoring import statements

    # While another thread began, Django may have told this connection to those alone who listened before.
    statements.watch(connection)
