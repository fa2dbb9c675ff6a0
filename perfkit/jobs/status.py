"""Where a job stands, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import router
from django.utils import timezone

from perfkit.errors import UnknownJobError
from perfkit.jobs.rows import Holder, Mark
from perfkit.models import Job, JobState


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is.

    Attributes:
        percent: 0 to 100.
        eta_seconds: How long the rest will take if it goes on like this; None where nothing was done yet.
    """

    current: int
    total: int
    percent: float
    message: str
    eta_seconds: float | None


@dataclass(frozen=True, slots=True)
class JobStatus:
    """Where a job stands.

    Attributes:
        state: One of `perfkit.models.JobState`.
        progress: None where it has told none.
        result: What it returned, once it is done.
        error: Of its last failure.
        runs: How often it was begun.
    """

    id: UUID
    name: str
    state: JobState
    progress: JobProgress | None
    result: Any
    error: str
    runs: int

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state not in {JobState.QUEUED, JobState.RUNNING}


def job_status(job_id: UUID | str) -> JobStatus:
    """Return where a job stands.

    Raises:
        UnknownJobError: There is none with this id, or it was purged.

    Queries:
        One.
    """
    row = Job._base_manager.using(router.db_for_write(Job)).filter(pk=id_of(job_id)).first()
    if row is None:
        raise UnknownJobError(str(job_id))
    return status_of(row)


def id_of(job_id: UUID | str) -> UUID:
    """Return the id that a text is.

    Raises:
        UnknownJobError: It is none, so no job has it.
    """
    try:
        return UUID(str(job_id))
    except ValueError:
        raise UnknownJobError(str(job_id)) from None


def status_of(row: Job) -> JobStatus:
    """Return where the job of a row stands."""
    ran_seconds = None if row.started_at is None else (timezone.now() - row.started_at).total_seconds()
    mark = Mark(row.current, row.total, row.message)
    state = JobState(row.state)
    return JobStatus(
        row.pk, row.name, state, _progress(mark, state, ran_seconds), row.result, row.error, row.fence
    )


def status_of_holder(holder: Holder) -> JobStatus:
    """Return where the job that has a key stands."""
    state = JobState(holder.state)
    progress = _progress(holder.mark, state, holder.ran_seconds)
    return JobStatus(holder.id, holder.name, state, progress, holder.result, holder.error, holder.fence)


def _progress(mark: Mark, state: JobState, ran_seconds: float | None) -> JobProgress | None:
    if mark.current is None or mark.total is None:
        return None
    current, total = mark.current, mark.total
    percent = round(min(100.0, max(0.0, 100 * current / total)), 1) if total > 0 else 100.0
    eta = None
    if state == JobState.RUNNING and ran_seconds is not None and 0 < current <= total:
        eta = round(ran_seconds * (total - current) / current, 1)
    return JobProgress(current, total, percent, mark.message, eta)
