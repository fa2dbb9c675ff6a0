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
from django.db import transaction
from django.utils import timezone

from perfkit.caching.named.held import MISSING
from perfkit.errors import JobArgumentError, JobKeyBusyError
from perfkit.jobs.arguments import arguments_text, result_text
from perfkit.jobs.backends import current_backend
from perfkit.jobs.declared import JobFunction
from perfkit.jobs.rows import SEND_AGAIN_SECONDS, Holder, JobRows, NewJob
from perfkit.jobs.status import JobStatus, status_of_holder
from perfkit.models import JobState

logger = logging.getLogger("perfkit.jobs")

TRIES: Final = 3
"""Of a job under a key: another one may end, or be removed, between two statements."""


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
        rows = JobRows()
        new = self._new(args, kwargs)
        cached = self._job.cached
        answer = MISSING if cached is None else cached.kept_answer(*args, **kwargs)
        if answer is not MISSING:
            rows.add_done(new, result_text(self._job.name, answer), keep_seconds=self._job.ttl_seconds)
            return JobStatus(new.id, new.name, JobState.DONE, None, answer, "", 0)
        holder = _added(new, rows)
        if holder is not None:
            return status_of_holder(holder)
        if new.not_before is None:
            _send_after_commit([new], rows.using)
        return JobStatus(new.id, new.name, JobState.QUEUED, None, None, "", 0)

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
        new = [self._new(args, {}) for args in calls]
        if any(each.key is not None for each in new):
            raise JobArgumentError(self._job.name, "jobs under keys are enqueued one by one.")
        rows = JobRows()
        with transaction.atomic(using=rows.using, savepoint=False):
            rows.add_many(new)
            if new and new[0].not_before is None:
                _send_after_commit(new, rows.using)
        return [each.id for each in new]

    def _new(self, args: Sequence[Any], kwargs: dict[str, Any]) -> NewJob:
        job = self._job
        key = job.key_text(args, kwargs)
        now = timezone.now()
        begins = now + self._run_after if isinstance(self._run_after, dt.timedelta) else self._run_after
        if begins is not None and begins <= now:
            begins = None
        return NewJob(
            id=uuid.uuid4(),
            name=job.name,
            queue=self._queue or "",
            key=None if key is None else hashlib.sha256(f"{job.name}\0{key}".encode()).hexdigest(),
            arguments=arguments_text(job.name, args, kwargs),
            lease_seconds=float(job.lease_seconds),
            enqueued_at=now,
            not_before=begins,
            due_at=begins or now + dt.timedelta(seconds=SEND_AGAIN_SECONDS),
        )


def _added(new: NewJob, rows: JobRows) -> Holder | None:
    """Write a job down unless another one holds its key; return that one then."""
    for _ in range(TRIES):
        if rows.add(new):
            return None
        if new.key is None:
            break
        holder = rows.holder(new.key)
        if holder is not None and not holder.is_expired:
            return holder
        if holder is not None:
            rows.release_key(holder.id)
    raise JobKeyBusyError(new.name)


def _send_after_commit(new: Sequence[NewJob], using: str) -> None:
    transaction.on_commit(partial(send, [(each.id, each.name, each.queue) for each in new]), using=using)


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
