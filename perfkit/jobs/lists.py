"""Lists of jobs for people: which ones, in which order, and how long each has waited."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from perfkit.errors import UnknownJobError
from perfkit.jobs.arguments import shown_arguments
from perfkit.jobs.control import all_jobs
from perfkit.jobs.declared import job_named
from perfkit.jobs.status import JobStatus, status_of
from perfkit.models import Job, JobState

MOST_LISTED = 20


@dataclass(frozen=True, slots=True)
class ShownJob:
    """All that people may see of a job.

    Attributes:
        status: Where it stands.
        arguments: By the names of the parameters: values of those that are declared as shown, of others the type.
        waited_seconds: How long it has waited to begin, or had to; None where it is not to begin yet.
    """

    status: JobStatus
    arguments: dict[str, str]
    queue: str
    worker: str
    failures: int
    losses: int
    is_cancel_wanted: bool
    enqueued_at: dt.datetime
    not_before: dt.datetime | None
    due_at: dt.datetime | None
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    expires_at: dt.datetime | None
    waited_seconds: float | None


def list_jobs(
    *,
    states: tuple[str, ...] = (),
    name: str | None = None,
    queue: str | None = None,
    most: int = MOST_LISTED,
) -> list[ShownJob]:
    """Return jobs, those that were enqueued last first; dead ones alone by when they died.

    Args:
        states: Of `JobState`; all where it is empty.
        name: Of the job.
        queue: Where it was sent by name; those that the back end's routes decide for have none.

    Queries:
        One.
    """
    rows = all_jobs()
    if states:
        rows = rows.filter(state__in=states)
    if name is not None:
        rows = rows.filter(name=name)
    if queue is not None:
        rows = rows.filter(queue=queue)
    order = "-finished_at" if set(states) == {JobState.DEAD} else "-enqueued_at"
    return [shown_job(row) for row in rows.order_by(order, "-pk")[:most]]


def find_job(job_id: UUID | str) -> ShownJob:
    """Return all that people may see of one job.

    Raises:
        UnknownJobError: There is none with this id.

    Queries:
        One.
    """
    row = all_jobs().filter(pk=job_id).first()
    if row is None:
        raise UnknownJobError(str(job_id))
    return shown_job(row)


def shown_job(row: Job) -> ShownJob:
    """Return all that people may see of the job of a row."""
    return ShownJob(
        status_of(row),
        arguments_of(row),
        row.queue,
        row.worker,
        row.failures,
        row.losses,
        row.is_cancel_wanted,
        row.enqueued_at,
        row.not_before,
        row.due_at,
        row.started_at,
        row.finished_at,
        row.expires_at,
        waited_seconds(row, timezone.now()),
    )


def arguments_of(row: Job) -> dict[str, str]:
    """Return the arguments of a job for people; of one that nobody declares any more no value at all."""
    args, kwargs = row.arguments
    try:
        declared = job_named(row.name)
    except UnknownJobError:
        return shown_arguments(args, kwargs, parameters=[], shown=frozenset())
    return shown_arguments(args, kwargs, parameters=declared.parameters, shown=declared.shown)


def waited_seconds(row: Job, now: dt.datetime) -> float | None:
    """Return for how long a job has waited to begin, or had to; None where it is not to begin yet.

    Of one that is tried again it is the wait before its first run.
    """
    began = row.started_at or row.finished_at or now
    if row.started_at is None and row.not_before is not None and row.not_before > began:
        return None
    asked = row.enqueued_at
    if row.failures == 0 and row.not_before is not None and asked < row.not_before <= began:
        asked = row.not_before
    return max(0.0, (began - asked).total_seconds())


def dead_jobs(name: str) -> QuerySet[Job]:
    """Return the rows of the dead letters of a name, those that died first first."""
    return all_jobs().filter(state=JobState.DEAD, name=name).order_by("finished_at")
