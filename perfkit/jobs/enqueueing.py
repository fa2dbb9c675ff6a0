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
from perfkit.tracing.origins import request_id
from perfkit.tracing.spans import current_traceparent

logger = logging.getLogger("perfkit.jobs")

MOST_FAILURES: Final = 3
"""After so many in a row nothing more is sent for now."""

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
        answer = MISSING if cached is None or new.not_before else cached.kept_answer(*args, **kwargs)
        if answer is not MISSING:
            rows.add_done(new, result_text(self._job.name, answer), forgets=self._job.is_forgotten)
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
            request_id=request_id(),
            traceparent=current_traceparent(),
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


def send(jobs: Iterable[tuple[uuid.UUID, str, str]]) -> list[uuid.UUID]:
    """Send jobs to their queues; return those that could not be.

    Where one fails, others of its queue (or, without a queue, of its name) are left for later;
    after some failures without a success all the rest is, for then it is the broker that is away.

    Args:
        jobs: Of each its id, its name and its queue.
    """
    backend = current_backend()
    unsent: list[uuid.UUID] = []
    failed: set[tuple[str, str]] = set()
    in_a_row = 0
    for job_id, name, queue in jobs:
        way = (queue, "" if queue else name)
        if way in failed or in_a_row >= MOST_FAILURES:
            unsent.append(job_id)
            continue
        try:
            backend.send(job_id, name=name, queue=queue or None)
        except Exception as error:  # noqa: BLE001  # each broker has errors of its own, and the row is there
            logger.warning(
                "Jobs cannot be sent to %s, and will be later: %s: %s",
                queue or f"the queue of {name}",
                type(error).__name__,
                error,
            )
            failed.add(way)
            unsent.append(job_id)
            in_a_row += 1
        else:
            in_a_row = 0
    return unsent
