"""How far a running task is: told by the task, kept in Celery's result back end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from celery import Task

from perfkit.caching.breaker import Breaker
from perfkit.conf import options

logger = logging.getLogger("perfkit.tasks")

PROGRESS: Final = "PROGRESS"
"""The state of a task that has told how far it is."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task is.

    Attributes:
        percent: 0 to 100.
        eta_seconds: How long the rest will take if it goes on like this; known of jobs alone.
    """

    current: int
    total: int
    percent: float
    message: str
    eta_seconds: float | None = None


def make_progress(current: int, total: int, message: str = "") -> Progress:
    """Return the progress with its percentage, 0 to 100; a total of 0 means that nothing was to be done.

    Example:
        >>> make_progress(1, 3)
        Progress(current=1, total=3, percent=33.3, message='', eta_seconds=None)
    """
    percent = round(min(100.0, max(0.0, 100 * current / total)), 1) if total > 0 else 100.0
    return Progress(current, total, percent, message)


def report_progress(task: Task[..., Any], current: int, total: int, message: str = "") -> bool:
    """Tell how far `task` is; a failure never fails the task.

    The first failure of an outage is logged; then nothing is tried for `CACHE_RETRY_AFTER` seconds at a time.

    Args:
        task: The running task, as `bind=True` hands it over; called as a plain function it has no id.
        current: Steps done.
        total: All steps.
        message: What is being done, for people.

    Returns:
        Whether it was told.
    """
    if task.request.id is None or not breaker.allows():
        return False
    progress = make_progress(current, total, message)
    meta = {"current": current, "total": total, "percent": progress.percent, "message": message}
    try:
        task.update_state(state=PROGRESS, meta=meta)
    except Exception as error:  # noqa: BLE001  # whatever the result back end raises, the work goes on
        breaker.failed(f"{type(error).__name__}: {error}")
        return False
    breaker.succeeded()
    return True


class PacedProgress:
    """Tells a task's progress a few times a second, however often it is called.

    The first call and the last step are always told.
    """

    def __init__(
        self,
        task: Task[..., Any],
        *,
        interval_seconds: float = 0.25,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._task = task
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._next_at = float("-inf")

    def __call__(self, current: int, total: int, message: str = "") -> None:
        """Tell the progress, or leave this one out."""
        if self._clock() >= self._next_at or current >= total:
            report_progress(self._task, current, total, message)
            self._next_at = self._clock() + self._interval_seconds


def _log_outage(is_down: bool, problem: str) -> None:
    if is_down:
        logger.warning("Progress of tasks cannot be told; they go on: %s", problem)
    else:
        logger.info("Progress of tasks can be told again.")


breaker: Final = Breaker(retry_after_seconds=lambda: options.CACHE_RETRY_AFTER, on_change=_log_outage)
"""One outage of this process, whichever task meets it."""
