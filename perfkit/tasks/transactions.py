"""Finds tasks that are sent within a transaction: they may begin before its COMMIT, and though it rolls back.

Celery swallows what a receiver of `before_task_publish` raises, so the app's `send_task` is where this stands:
every way of sending a task goes through it.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from celery import Celery

from perfkit.conf import options
from perfkit.errors import TaskInTransactionError

logger = logging.getLogger("perfkit.tasks")

MOST_LINES: Final = 10_000
_logged: Final[set[tuple[str, str]]] = set()
"""Tasks and lines that were told of."""


def install(app: Celery) -> None:
    """Look at each task that `app` is to send; calling it again changes nothing."""

    def send_task(name: str, *args: Any, **kwargs: Any) -> Any:
        # A retry is sent by the task itself, whose transaction is rolled back for it.
        if not kwargs.get("retries"):
            _look_at(name)
        # Of the class, and looked up now: monitors put theirs there.
        return type(app).send_task(app, name, *args, **kwargs)

    app.send_task = send_task  # type: ignore[method-assign]


def _look_at(name: str) -> None:
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
