"""Finds tasks that are sent within a transaction: they may begin before its COMMIT, and though it rolls back."""

from __future__ import annotations

import logging
from typing import Final

from perfkit.conf import options
from perfkit.errors import TaskInTransactionError

logger = logging.getLogger("perfkit.tasks")

MOST_LINES: Final = 10_000
_logged: Final[set[tuple[str, str]]] = set()
"""Tasks and lines that were told of."""


def look_at(name: str) -> None:
    """Tell of a task that is to be sent now, if a transaction is open.

    Raises:
        TaskInTransactionError: That is wanted.
    """
    # A project calls `configure` before Django is up; now it is.
    mode = options.TASK_IN_TRANSACTION
    if mode == "off":
        return
    alias = _open_transaction()
    if alias is None or _is_job(name):
        return
    from perfkit.watching import calling_line

    line = calling_line()
    if mode == "raise":
        raise TaskInTransactionError(name, line, alias)
    if (name, line) not in _logged:
        if len(_logged) >= MOST_LINES:
            _logged.clear()
        _logged.add((name, line))
        logger.warning("%s", TaskInTransactionError(name, line, alias))


def _open_transaction() -> str | None:
    """Return the alias of a connection of this thread that is within an atomic block, other than a test's own."""
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        # Django marks the blocks of TestCase so, for `durable=True`.
        if any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
            return connection.alias
    return None


def _is_job(name: str) -> bool:
    """Tell whether a message only names a job's row, which is written with the transaction."""
    from perfkit.jobs.declared import is_job

    return is_job(name)
