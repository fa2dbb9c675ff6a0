"""What people do to jobs: list, cancel, replay, purge."""

from __future__ import annotations

import datetime as dt
from functools import partial
from uuid import UUID

from django.db import IntegrityError, models, router, transaction
from django.utils import timezone

from perfkit.errors import JobActionError, UnknownJobError
from perfkit.jobs.enqueueing import send
from perfkit.jobs.rows import SEND_AGAIN_SECONDS, JobRows
from perfkit.jobs.status import JobStatus, job_status
from perfkit.models import Job, JobState

PURGED_AT_ONCE = 1000


def all_jobs() -> models.QuerySet[Job]:
    """Return the rows of all jobs."""
    return Job._base_manager.using(router.db_for_write(Job))


def cancel_job(job_id: UUID | str) -> JobStatus:
    """Have a job stop, and return where it stands then.

    One that waits is cancelled at once.
    One that runs hears of it within three seconds, and stops where it next tells its progress, calls
    `current_run().check()` or ends a step: what it has not committed until there is rolled back.

    Raises:
        UnknownJobError: There is none with this id.
        JobActionError: It has ended.
    """
    id_ = UUID(str(job_id))
    state = JobRows().want_cancelled(id_)
    if state is None:
        raise UnknownJobError(str(job_id))
    if state in {JobState.DONE, JobState.DEAD}:
        raise JobActionError(str(job_id), f"has ended already: {state}.")
    return job_status(id_)


def replay_job(job_id: UUID | str) -> JobStatus:
    """Queue a dead or cancelled job once more; one in steps goes on from its last checkpoint.

    Raises:
        UnknownJobError: There is none with this id.
        JobActionError: It waits, runs or is done, or another job has its key meanwhile.
    """
    id_ = UUID(str(job_id))
    using = router.db_for_write(Job)
    now = timezone.now()
    try:
        with transaction.atomic(using=using):
            number = (
                all_jobs()
                .filter(pk=id_, state__in=[JobState.DEAD, JobState.CANCELLED])
                .update(
                    state=JobState.QUEUED,
                    failures=0,
                    losses=0,
                    sent=0,
                    is_cancel_wanted=False,
                    not_before=None,
                    due_at=now + dt.timedelta(seconds=SEND_AGAIN_SECONDS),
                    finished_at=None,
                    expires_at=None,
                )
            )
    except IntegrityError as error:
        raise JobActionError(str(id_), "cannot be replayed: another one has its key.") from error
    row = all_jobs().filter(pk=id_).first()
    if row is None:
        raise UnknownJobError(str(id_))
    if not number:
        raise JobActionError(str(id_), f"cannot be replayed, for it is {row.state}.")
    transaction.on_commit(partial(send, [(row.pk, row.name, row.queue)]), using=using)
    return job_status(id_)


def purge_jobs(
    *, older_than: dt.timedelta | None = None, states: tuple[str, ...] = (JobState.DONE, JobState.CANCELLED)
) -> int:
    """Remove jobs that have ended, 1,000 at a time, and return how many.

    Args:
        older_than: Those that ended before so long; by default those whose result is no longer kept.
        states: Dead letters stay unless this names them.
    """
    rows = purgeable(older_than=older_than, states=states)
    number = 0
    while pks := list(rows.values_list("pk", flat=True)[:PURGED_AT_ONCE]):
        number += all_jobs().filter(pk__in=pks).delete()[0]
    return number


def purgeable(
    *, older_than: dt.timedelta | None = None, states: tuple[str, ...] = (JobState.DONE, JobState.CANCELLED)
) -> models.QuerySet[Job]:
    """Return what `purge_jobs` removes."""
    now = timezone.now()
    over = (
        models.Q(expires_at__lt=now) | models.Q(expires_at=None)
        if older_than is None
        else models.Q(finished_at__lt=now - older_than)
    )
    return all_jobs().filter(over, state__in=states, finished_at__isnull=False)
