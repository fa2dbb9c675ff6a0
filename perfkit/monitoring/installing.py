"""Begins to measure: with the first connection, request or task, for until then there is nothing to be measured.

What a process loads for it would be a third of what starting perfkit takes: a command that measures nothing need
not wait for it.
"""

from __future__ import annotations

from typing import Any, Final

from django.apps import apps
from django.db import connections
from django.db.backends.signals import connection_created

NAME: Final = "perfkit.monitoring.installing"

_begun: Final[list[bool]] = []


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
    if _begun:
        return
    _begun.append(True)
    from perfkit.monitoring import receivers, recording, statements

    recording.install()
    statements.install()
    receivers.install()


def _connected(**_: Any) -> None:
    begin()
