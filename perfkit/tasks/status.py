"""Where a task stands, read from Celery's result back end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celery import Celery, current_app, states

from perfkit.errors import TaskStatusUnavailableError
from perfkit.tasks.progress import PROGRESS, Progress, make_progress


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """Where a task stands.

    `progress` is set only in PROGRESS, and None where the task told no whole numbers `current` and `total`.
    `result` is set only in the state SUCCESS, `error` only in FAILURE, RETRY and REVOKED.
    """

    state: str
    progress: Progress | None
    result: Any
    error: str | None


def read_status(task_id: str, *, app: Celery | None = None) -> TaskStatus:
    """Return where the task stands: PENDING, STARTED, PROGRESS, RETRY, SUCCESS, FAILURE or REVOKED.

    Celery keeps nothing of a task before a worker takes it, so PENDING is also the answer for an id
    that no task has, and for a result that has expired.

    Args:
        task_id: The id that `delay` returned.
        app: The Celery app; by default the project's.

    Raises:
        TaskStatusUnavailableError: The result back end does not answer.

    Queries:
        None; one round trip to the result back end.
    """
    try:
        meta = (app or current_app).backend.get_task_meta(task_id, cache=False)
    except Exception as error:  # each back end has errors of its own
        raise TaskStatusUnavailableError(task_id, f"{type(error).__name__}: {error}") from error
    return _status(meta["status"], meta["result"])


def _status(state: str, outcome: Any) -> TaskStatus:
    """Read what the back end keeps as `result`: the result, the progress or the error, by the state."""
    if state == PROGRESS:
        return TaskStatus(state, _progress(outcome), None, None)
    if state == states.SUCCESS:
        return TaskStatus(state, None, outcome, None)
    if state in states.EXCEPTION_STATES:
        return TaskStatus(state, None, None, f"{type(outcome).__name__}: {outcome}")
    return TaskStatus(state, None, None, None)


def _progress(meta: Any) -> Progress | None:
    """Read the progress that a task told, perhaps by Celery's own `update_state` and in a shape of its own."""
    if not isinstance(meta, Mapping):
        return None
    current, total, message = meta.get("current"), meta.get("total"), meta.get("message")
    if type(current) is not int or type(total) is not int:
        return None
    return make_progress(current, total, message if isinstance(message, str) else "")
