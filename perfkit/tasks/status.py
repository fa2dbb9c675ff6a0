"""Where a task or a job stands: read from the job's row, or else from Celery's result back end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from celery import Celery, current_app, states
from django.db import Error, router

from perfkit.errors import TaskStatusUnavailableError
from perfkit.jobs.status import JobStatus, status_of
from perfkit.models import Job, JobState
from perfkit.tasks.progress import PROGRESS, Progress, make_progress

_ENDS: Final = {
    JobState.DONE: states.SUCCESS,
    JobState.DEAD: states.FAILURE,
    JobState.CANCELLED: states.REVOKED,
}


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """Where a task or a job stands.

    `progress` is set in PROGRESS, and while a job waits that was begun before;
    None where the task told no whole numbers `current` and `total`.
    `result` is set only in the state SUCCESS, `error` only in FAILURE, RETRY and REVOKED.
    """

    state: str
    progress: Progress | None
    result: Any
    error: str | None


def read_status(task_id: str, *, app: Celery | None = None) -> TaskStatus:
    """Return where a task stands: PENDING, STARTED, PROGRESS, RETRY, SUCCESS, FAILURE or REVOKED.

    A job is looked for first: it is PENDING while it waits, RETRY where it waits after a failure, and REVOKED
    where it was cancelled. Of its error the last line is told, without the texts that it was called with.
    Celery keeps nothing of a task before a worker takes it, so PENDING is also the answer for an id
    that no task has, and for a result that has expired.

    Args:
        task_id: The id that `delay` returned, or that of what `enqueue` did.
        app: The Celery app; by default the project's.

    Raises:
        TaskStatusUnavailableError: The database or the result back end does not answer.

    Queries:
        One, by primary key; for what is no job a round trip to the result back end besides.
    """
    row = _job(task_id)
    if row is not None:
        return _status_of_job(row)
    try:
        meta = (app or current_app).backend.get_task_meta(task_id, cache=False)
    except Exception as error:  # each back end has errors of its own
        raise TaskStatusUnavailableError(task_id, f"{type(error).__name__}: {error}") from error
    return _status(meta["status"], meta["result"])


def _job(task_id: str) -> Job | None:
    """Return the row of a job; None where there is none, or the id is none that a job could have."""
    try:
        job_id = UUID(task_id)
    except ValueError:
        return None
    try:
        return Job._base_manager.using(router.db_for_write(Job)).filter(pk=job_id).first()
    except Error as error:
        raise TaskStatusUnavailableError(task_id, f"the database: {type(error).__name__}") from error


def _status_of_job(row: Job) -> TaskStatus:
    job = status_of(row)
    if job.state == JobState.QUEUED:
        has_failed = bool(row.failures or row.losses or row.error)
        state = states.RETRY if has_failed else states.PENDING
        return TaskStatus(state, _progress_of_job(job), None, _last_line(row.error) or None)
    if job.state == JobState.RUNNING:
        progress = _progress_of_job(job)
        return TaskStatus(states.STARTED if progress is None else PROGRESS, progress, None, None)
    error = {JobState.DEAD: _last_line(row.error), JobState.CANCELLED: "It was cancelled."}.get(job.state)
    return TaskStatus(_ENDS[job.state], None, job.result if job.state == JobState.DONE else None, error)


def _progress_of_job(job: JobStatus) -> Progress | None:
    told = job.progress
    if told is None:
        return None
    return Progress(told.current, told.total, told.percent, told.message, told.eta_seconds)


def _last_line(text: str) -> str:
    """Return what a traceback says at its end: the error itself."""
    return text.strip().rpartition("\n")[2]


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
