"""The rows of jobs: who may run one, and what becomes of it. All of it is single statements.

# Note [Why a job has one effect]

The row is the job; a message in a queue only says "look at this row", and may be lost, doubled or late.

- Whoever takes a job raises its fence by one and holds a lease. Nobody else may take it before the lease ends.
- Who holds it renews the lease while it works, from another thread and another connection.
- The end is written in the transaction of the effect, and only under the fence with which the job was taken.
  Where somebody else has taken the job meanwhile, that statement finds no row, and the effect is rolled back.
- A row that is not taken in time, or whose lease has ended, is sent again; see `recovery`.

So of all who ever run a job one commits, however often it was delivered and whoever died.
All times are the database's: workers need not agree on theirs.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.errors import JobFencedError
from perfkit.jobs.statements import SEND_AGAIN_SECONDS, statements_of
from perfkit.models import Job, JobState
from perfkit.postgres.prepared import rows_when_repeated

__all__ = ["SEND_AGAIN_SECONDS", "Due", "Holder", "JobRows", "Mark", "NewJob", "Taken"]

ADDED_AT_ONCE: Final = 500

ANSWER_KEPT_SECONDS: Final = 600.0
"""The row of a job that was done when it was asked for."""

UNSENT_SECONDS: Final = 5.0
"""After so long what could not be sent is tried again."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that is written down.

    Attributes:
        queue: Empty where the back end decides.
        key: SHA-256 of its name and its key.
        arguments: JSON: a list of two, positional ones and named ones.
        due_at: When it is sent again if nobody has taken it.
        request_id, traceparent: Of whoever enqueues it; empty where there is none.
    """

    id: UUID
    name: str
    queue: str
    key: str | None
    arguments: str
    lease_seconds: float
    enqueued_at: dt.datetime
    not_before: dt.datetime | None
    due_at: dt.datetime
    request_id: str
    traceparent: str


@dataclass(frozen=True, slots=True)
class Holder:
    """A job that has a key.

    Attributes:
        is_expired: Whether it is done, and its result need not be kept any more.
        ran_seconds: Since it was begun for the first time.
    """

    id: UUID
    name: str
    state: str
    is_expired: bool
    ran_seconds: float | None
    mark: Mark
    result: Any
    error: str
    fence: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A job that its caller may run, and must end under its fence.

    Attributes:
        fence: How often it has been taken.
        mark: How far an earlier run has told that it was.
        waited_seconds: Between the moment when it could have begun and this one.
        request_id, traceparent: Of whoever has enqueued it; empty where there was none.
    """

    id: UUID
    name: str
    queue: str
    fence: int
    failures: int
    losses: int
    arguments: tuple[list[Any], dict[str, Any]]
    checkpoint: Any
    mark: Mark
    is_cancel_wanted: bool
    waited_seconds: float
    request_id: str
    traceparent: str


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a job is, as it is told to people."""

    current: int | None = None
    total: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Due:
    """A job that is to be sent to its queue again."""

    id: UUID
    name: str
    queue: str


class JobRows:
    """The rows of jobs in one database.

    Args:
        using: Its alias; where the router writes jobs by default.
    """

    def __init__(self, using: str | None = None) -> None:
        self.using = using or router.db_for_write(Job)

    def add(self, new: NewJob) -> bool:
        """Write a job down; False where another one has its key.

        Queries:
            One.
        """
        connection = self._connection
        return _one(connection, statements_of(connection).add, _values(connection, new)) is not None

    def add_done(self, new: NewJob, result: str, *, forgets: bool) -> None:
        """Write down a job that is done already, by an answer that was there; it has no key.

        It is there for who has been given its id, and not kept for long, as there may be many.

        Args:
            forgets: Whether its arguments are left out.

        Queries:
            One.
        """
        connection = self._connection
        _, name, queue, _, arguments, lease_seconds, enqueued_at, *_ = _values(connection, new)
        kept = "[[], {}]" if forgets else arguments
        values = (_id(connection, new.id), name, queue, kept, lease_seconds, enqueued_at, result, enqueued_at)
        _one(connection, statements_of(connection).add_done, (*values, ANSWER_KEPT_SECONDS))

    def add_many(self, new: Sequence[NewJob]) -> None:
        """Write jobs without keys down.

        Queries:
            One for 500 of them.
        """
        connection = self._connection
        for start in range(0, len(new), ADDED_AT_ONCE):
            batch = new[start : start + ADDED_AT_ONCE]
            values = [value for each in batch for value in _values(connection, each)]
            with connection.cursor() as cursor:
                cursor.execute(statements_of(connection).add_many(len(batch)), values)

    def holder(self, key: str) -> Holder | None:
        """Return the job that keeps others of its key out.

        Queries:
            One.
        """
        connection = self._connection
        row = _one(connection, statements_of(connection).holder, (key,))
        if row is None:
            return None
        job_id, name, state, is_expired, ran_seconds, current, total, message, result, error, fence = row
        return Holder(
            _uuid(job_id),
            name,
            state,
            bool(is_expired),
            ran_seconds,
            Mark(current, total, message),
            None if result is None else json.loads(result),
            error,
            fence,
        )

    def release_key(self, job_id: UUID) -> None:
        """Take the key from a job whose result need not be kept any more."""
        connection = self._connection
        _one(connection, statements_of(connection).release_key, (_id(connection, job_id),))

    def take(self, job_id: UUID, *, worker: str) -> Taken | None:
        """Take a job for the length of its lease; None where it is not there to be taken.

        Queries:
            One.
        """
        connection = self._connection
        row = _one(connection, statements_of(connection).take, (worker[:255], _id(connection, job_id)))
        if row is None:
            return None
        name, queue, fence, failures, losses, arguments, checkpoint, *mark, is_cancel_wanted = row[:11]
        *origin, seconds = row[11:]
        args, kwargs = json.loads(arguments)
        return Taken(
            job_id,
            name,
            queue,
            fence,
            failures,
            losses,
            (args, kwargs),
            None if checkpoint is None else json.loads(checkpoint),
            Mark(*mark),
            bool(is_cancel_wanted),
            max(0.0, float(seconds)),
            *origin,
        )

    def renew(self, job_id: UUID, fence: int, *, mark: Mark) -> bool | None:
        """Renew a lease, and tell how far the job is.

        Returns:
            Whether somebody wants it to be cancelled; None where it is not the caller's any more.
        """
        connection = self._connection
        row = _one(
            connection, statements_of(connection).renew, (*_told(mark), _id(connection, job_id), fence)
        )
        return None if row is None else bool(row[0])

    def step(self, job_id: UUID, fence: int, checkpoint: str, *, mark: Mark) -> bool:
        """Keep a checkpoint, in the transaction of what was done until there.

        Returns:
            Whether somebody wants the job to be cancelled.

        Raises:
            JobFencedError: Somebody else has the job; what was done must be rolled back.
        """
        connection = self._connection
        row = _one(
            connection,
            statements_of(connection).step,
            (checkpoint, *_told(mark), _id(connection, job_id), fence),
        )
        if row is None:
            raise JobFencedError(str(job_id))
        return bool(row[0])

    def finish(
        self,
        job_id: UUID,
        fence: int,
        result: str,
        *,
        keep_seconds: float,
        mark: Mark,
        frees_key: bool = False,
        forgets: bool = False,
    ) -> None:
        """Write that a job is done, in the transaction of its effect.

        Args:
            frees_key: Whether another one may have its key from now on.
            forgets: Whether its arguments are removed.

        Raises:
            JobFencedError: Somebody else has the job; the effect must be rolled back.
        """
        connection = self._connection
        _end(
            connection,
            statements_of(connection).finish,
            job_id,
            fence,
            result,
            *_told(mark),
            frees_key,
            forgets,
            float(keep_seconds),
        )

    def give_up(self, job_id: UUID, fence: int, error: str, *, keep_seconds: float) -> None:
        """Write that a job has failed for good.

        Raises:
            JobFencedError: Somebody else has the job.
        """
        connection = self._connection
        _end(connection, statements_of(connection).give_up, job_id, fence, error, float(keep_seconds))

    def stop(self, job_id: UUID, fence: int, *, keep_seconds: float) -> None:
        """Write that a job has stopped because somebody wanted it to.

        Raises:
            JobFencedError: Somebody else has the job.
        """
        connection = self._connection
        _end(connection, statements_of(connection).stop, job_id, fence, float(keep_seconds))

    def put_back(
        self,
        job_id: UUID,
        fence: int,
        error: str,
        *,
        delay_seconds: float,
        failures: int = 0,
        losses: int = 0,
    ) -> None:
        """Queue a job once more, after a while.

        Args:
            failures, losses: What is added to these.

        Raises:
            JobFencedError: Somebody else has the job.
        """
        delay = float(delay_seconds)
        connection = self._connection
        _end(
            connection,
            statements_of(connection).put_back,
            job_id,
            fence,
            failures,
            losses,
            error,
            delay,
            delay,
        )

    def claim_due(self, *, most: int) -> list[Due]:
        """Return jobs that are to be sent again, longest due first; nobody else is given them for a while.

        One whose lease has ended is queued again.
        """
        connection = self._connection
        with connection.cursor() as cursor:
            cursor.execute(statements_of(connection).claim_due, (most,))
            return [Due(_uuid(job_id), name, queue) for job_id, name, queue in cursor.fetchall()]

    def give_back(self, job_ids: Sequence[UUID]) -> None:
        """Undo the claim of jobs that could not be sent: they are due again in a few seconds.

        Queries:
            One for 500 of them.
        """
        connection = self._connection
        for start in range(0, len(job_ids), ADDED_AT_ONCE):
            ids = [_id(connection, job_id) for job_id in job_ids[start : start + ADDED_AT_ONCE]]
            with connection.cursor() as cursor:
                cursor.execute(statements_of(connection).give_back(len(ids)), (UNSENT_SECONDS, *ids))

    def is_done(self, job_id: UUID, fence: int) -> bool:
        """Say whether the run under this fence has committed its end.

        Queries:
            One.
        """
        rows = Job._base_manager.using(self.using)
        return rows.filter(pk=job_id, fence=fence, state=JobState.DONE).exists()

    def want_cancelled(self, job_id: UUID) -> str | None:
        """Have a job stop: one that waits at once, one that runs at its next step; return its state then.

        Returns:
            None where there is no such job.
        """
        connection = self._connection
        row = _one(connection, statements_of(connection).want_cancelled, (_id(connection, job_id),))
        return None if row is None else str(row[0])

    @property
    def _connection(self) -> BaseDatabaseWrapper:
        return connections[self.using]


def _one(connection: BaseDatabaseWrapper, sql: str, params: Sequence[Any]) -> Sequence[Any] | None:
    rows = rows_when_repeated(connection, sql, params)
    return rows[0] if rows else None


def _end(connection: BaseDatabaseWrapper, sql: str, job_id: UUID, fence: int, *values: Any) -> None:
    if _one(connection, sql, (*values, _id(connection, job_id), fence)) is None:
        raise JobFencedError(str(job_id))


def _id(connection: BaseDatabaseWrapper, job_id: UUID) -> Any:
    return job_id if connection.features.has_native_uuid_field else job_id.hex


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def _values(connection: BaseDatabaseWrapper, new: NewJob) -> tuple[Any, ...]:
    moment = connection.ops.adapt_datetimefield_value
    return (
        _id(connection, new.id),
        new.name,
        new.queue,
        new.key,
        new.arguments,
        new.lease_seconds,
        moment(new.enqueued_at),
        moment(new.not_before),
        moment(new.due_at),
        new.request_id,
        new.traceparent,
    )


def _told(mark: Mark) -> tuple[int | None, int | None, str]:
    return mark.current, mark.total, mark.message[:255]
