"""Leaves a job to workers: its row in the transaction that is open, its message after COMMIT."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import uuid
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.db import models, router, transaction
from django.utils import timezone

from perfkit.errors import JobArgumentError, JobKeyBusyError
from perfkit.jobs.arguments import arguments_text
from perfkit.jobs.backends import current_backend
from perfkit.jobs.declared import JobFunction
from perfkit.jobs.rows import SEND_AGAIN_SECONDS
from perfkit.jobs.status import JobStatus, status_of
from perfkit.models import Job, JobState

logger = logging.getLogger("perfkit.jobs")

TRIES: Final = 3
"""Of a job under a key: another one may end, or be removed, between two statements."""

HOLDING: Final = (JobState.QUEUED, JobState.RUNNING, JobState.DONE)
"""States in which a job keeps others of its key out."""


class Call:
    """A job, and how it is to be enqueued; see `JobFunction.using`."""

    def __init__(
        self,
        job: JobFunction[..., Any],
        *,
        run_after: dt.datetime | dt.timedelta | None = None,
        queue: str | None = None,
    ) -> None:
        if isinstance(run_after, dt.datetime) and timezone.is_naive(run_after):
            raise JobArgumentError(job.name, "run_after needs a time zone.")
        self._job = job
        self._run_after = run_after
        self._queue = queue

    def enqueue(self, *args: Any, **kwargs: Any) -> JobStatus:
        """Leave a call to a worker; see `JobFunction.enqueue`."""
        using = router.db_for_write(Job)
        row = self._row(args, kwargs)
        if row.key is None:
            row.save(using=using, force_insert=True)
        else:
            holder = _inserted(row, using)
            if holder is not None:
                return status_of(holder)
        if row.not_before is None:
            _send_after_commit([row], using)
        return status_of(row)

    async def aenqueue(self, *args: Any, **kwargs: Any) -> JobStatus:
        """Do the same from a coroutine."""
        return await sync_to_async(self.enqueue)(*args, **kwargs)

    def enqueue_many(self, calls: Iterable[Sequence[Any]]) -> list[uuid.UUID]:
        """Leave many calls to workers, and return the ids of their jobs in the same order.

        Args:
            calls: The positional arguments of each.

        Raises:
            JobArgumentError: Of the first that cannot be; none is enqueued. Nor can jobs under keys be.

        Queries:
            One for some hundred of them.
        """
        using = router.db_for_write(Job)
        rows = [self._row(args, {}) for args in calls]
        if any(row.key is not None for row in rows):
            raise JobArgumentError(self._job.name, "jobs under keys are enqueued one by one.")
        Job._base_manager.using(using).bulk_create(rows, batch_size=500)
        if rows and rows[0].not_before is None:
            _send_after_commit(rows, using)
        return [row.pk for row in rows]

    def _row(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Job:
        job = self._job
        key = job.key_text(args, kwargs)
        arguments_text(job.name, args, kwargs)
        now = timezone.now()
        begins = now + self._run_after if isinstance(self._run_after, dt.timedelta) else self._run_after
        if begins is not None and begins <= now:
            begins = None
        return Job(
            name=job.name,
            queue=self._queue or "",
            key=None if key is None else hashlib.sha256(f"{job.name}\0{key}".encode()).hexdigest(),
            arguments=[list(args), kwargs],
            lease_seconds=job.lease_seconds,
            enqueued_at=now,
            not_before=begins,
            due_at=begins or now + dt.timedelta(seconds=SEND_AGAIN_SECONDS),
        )


def _inserted(row: Job, using: str) -> Job | None:
    """Insert a row unless another one holds its key; return that one then."""
    rows = Job._base_manager.using(using)
    for _ in range(TRIES):
        if rows.bulk_create([row], ignore_conflicts=True) and _is_there(row, rows):
            return None
        expired = rows.filter(key=row.key, state=JobState.DONE, expires_at__lte=models.functions.Now())
        if expired.update(key=None):
            continue
        holder = rows.filter(key=row.key, state__in=HOLDING).first()
        if holder is not None:
            return holder
    raise JobKeyBusyError(row.name)


def _is_there(row: Job, rows: models.QuerySet[Job]) -> bool:
    return rows.filter(pk=row.pk).exists()


def _send_after_commit(rows: Sequence[Job], using: str) -> None:
    transaction.on_commit(partial(send, [(row.pk, row.name, row.queue) for row in rows]), using=using)


def send(jobs: Iterable[tuple[uuid.UUID, str, str]]) -> int:
    """Send jobs to their queues; return how many were, which where a queue cannot be reached is not all.

    Args:
        jobs: Of each its id, its name and its queue.
    """
    backend = current_backend()
    sent = 0
    for job_id, name, queue in jobs:
        try:
            backend.send(job_id, name=name, queue=queue or None)
        except Exception as error:  # noqa: BLE001  # each broker has errors of its own, and the row is there
            logger.warning("Jobs cannot be sent, and will be later: %s: %s", type(error).__name__, error)
            break
        sent += 1
    return sent
