"""What people do to jobs: list, cancel, replay, purge."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import UUID

from django.db import IntegrityError, models, router, transaction
from django.db.models.functions import Coalesce
from django.utils import timezone

from perfkit.errors import JobActionError, UnknownJobError
from perfkit.jobs.enqueueing import TRIES, send
from perfkit.jobs.rows import SEND_AGAIN_SECONDS, JobRows
from perfkit.jobs.status import JobStatus, id_of, job_status
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
    id_ = id_of(job_id)
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
    id_ = id_of(job_id)
    number = _queued_again(id_)
    row = all_jobs().filter(pk=id_).first()
    if row is None:
        raise UnknownJobError(str(id_))
    if not number:
        raise JobActionError(str(id_), f"cannot be replayed, for it is {row.state}.")
    transaction.on_commit(partial(send, [(row.pk, row.name, row.queue)]), using=router.db_for_write(Job))
    return job_status(id_)


def _queued_again(job_id: UUID) -> int:
    """Queue a dead or cancelled job; another one whose result need not be kept any more gives it their key."""
    rows = JobRows()
    ended = all_jobs().filter(pk=job_id, state__in=[JobState.DEAD, JobState.CANCELLED])
    for _ in range(TRIES):
        try:
            with transaction.atomic(using=rows.using):
                return ended.update(
                    state=JobState.QUEUED,
                    failures=0,
                    losses=0,
                    sent=0,
                    is_cancel_wanted=False,
                    started_at=None,  # the time that is left is told from here
                    not_before=None,
                    due_at=timezone.now() + dt.timedelta(seconds=SEND_AGAIN_SECONDS),
                    finished_at=None,
                    expires_at=None,
                )
        except IntegrityError as error:
            key = ended.values_list("key", flat=True).first()
            holder = None if key is None else rows.holder(key)
            if holder is not None and not holder.is_expired:
                raise JobActionError(str(job_id), "cannot be replayed: another one has its key.") from error
            if holder is not None:
                rows.release_key(holder.id)
    raise JobActionError(str(job_id), "cannot be replayed: others take its key all the time.")


def purge_jobs(
    *, older_than: dt.timedelta | None = None, states: tuple[str, ...] = (JobState.DONE, JobState.CANCELLED)
) -> int:
    """Remove jobs that have ended, 1,000 at a time, and return how many.

    Args:
        older_than: Those that ended before so long; by default those whose result is no longer kept.
        states: Dead letters stay unless this names them.
    """
    return sum(
        number
        for state in dict.fromkeys(states)  # one by one, for each has an index of its own
        for number in removed_in_chunks(purgeable(older_than=older_than, states=(state,)))
    )


def purgeable(
    *, older_than: dt.timedelta | None = None, states: tuple[str, ...] = (JobState.DONE, JobState.CANCELLED)
) -> models.QuerySet[Job]:
    """Return what `purge_jobs` removes, in the order of the index `perfkit_job_over`."""
    now = timezone.now()
    # One that was cancelled while it waited has no result, so nothing to keep it for.
    rows = all_jobs().alias(over_at=Coalesce("expires_at", "finished_at"))
    rows = rows.filter(state__in=states, finished_at__isnull=False).order_by("over_at", "pk")
    return (
        rows.filter(over_at__lt=now) if older_than is None else rows.filter(finished_at__lt=now - older_than)
    )


def removed_in_chunks(rows: models.QuerySet[Any]) -> Iterator[int]:
    """Delete rows of a table of perfkit's, 1,000 at a time, and yield how many each time.

    What they were found by is asked once more by the statement that deletes them: a job that somebody has replayed
    in between stays. It comes to an end also where the database keeps some.

    Args:
        rows: In an order that tells any two of them apart.
    """
    stayed = 0
    while pks := list(rows.values_list("pk", flat=True)[stayed : stayed + PURGED_AT_ONCE]):
        chunk = rows.filter(pk__in=pks)
        # Without signals: for their receivers Django would read the rows, and delete them by their keys alone.
        number = chunk._raw_delete(chunk.db)  # noqa: SLF001  # `delete` does so only where nobody listens
        if number < len(pks):
            stayed += chunk.count()
        yield number
