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

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.errors import JobFencedError
from perfkit.models import Job, JobState

SEND_AGAIN_SECONDS: Final = 30
SEND_AGAIN_FACTOR: Final = 2
"""Nobody knows whether a message was lost or the queue is long, so each wait is longer than the one before."""

MOST_SENT: Final = 9
"""Longer than after so many the wait does not become: 4 hours."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A job that its caller may run, and must end under its fence.

    Attributes:
        fence: How often it has been taken.
        waited_seconds: Between the moment when it could have begun and this one.
    """

    id: UUID
    name: str
    queue: str
    fence: int
    failures: int
    losses: int
    arguments: tuple[list[Any], dict[str, Any]]
    checkpoint: Any
    is_cancel_wanted: bool
    waited_seconds: float


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

    def take(self, job_id: UUID, *, worker: str) -> Taken | None:
        """Take a job for the length of its lease; None where it is not there to be taken.

        Queries:
            One.
        """
        now = _now(self._connection)
        waited = _seconds_since(self._connection, "COALESCE(not_before, enqueued_at)")
        row = self._one(
            f"""
            UPDATE perfkit_job
            SET state = 'running', fence = fence + 1, worker = %s, sent = 0,
                losses = losses + CASE WHEN state = 'running' THEN 1 ELSE 0 END,
                started_at = COALESCE(started_at, {now}), due_at = {_after(self._connection, "lease_seconds")}
            WHERE id = %s AND (
                state = 'queued' AND (not_before IS NULL OR not_before <= {now})
                OR state = 'running' AND due_at < {now}
            )
            RETURNING name, queue, fence, failures, losses, arguments, checkpoint, is_cancel_wanted, {waited}
            """,
            (worker[:255], self._id(job_id)),
        )
        if row is None:
            return None
        name, queue, fence, failures, losses, arguments, checkpoint, is_cancel_wanted, seconds = row
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
            bool(is_cancel_wanted),
            max(0.0, float(seconds)),
        )

    def renew(self, job_id: UUID, fence: int, *, mark: Mark) -> bool | None:
        """Renew a lease, and tell how far the job is.

        Returns:
            Whether somebody wants it to be cancelled; None where it is not the caller's any more.
        """
        row = self._one(
            f"""
            UPDATE perfkit_job
            SET due_at = {_after(self._connection, "lease_seconds")}, current = %s, total = %s, message = %s
            WHERE {_HELD} RETURNING is_cancel_wanted
            """,
            (*_told(mark), self._id(job_id), fence),
        )
        return None if row is None else bool(row[0])

    def step(self, job_id: UUID, fence: int, checkpoint: str, *, mark: Mark) -> bool:
        """Keep a checkpoint, in the transaction of what was done until there.

        Returns:
            Whether somebody wants the job to be cancelled.

        Raises:
            JobFencedError: Somebody else has the job; what was done must be rolled back.
        """
        row = self._one(
            f"""
            UPDATE perfkit_job
            SET checkpoint = %s, due_at = {_after(self._connection, "lease_seconds")}, losses = 0,
                current = %s, total = %s, message = %s
            WHERE {_HELD} RETURNING is_cancel_wanted
            """,
            (checkpoint, *_told(mark), self._id(job_id), fence),
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
        values = "result = %s, error = '', current = %s, total = %s, message = %s"
        values += ", key = NULL" * frees_key + _FORGETTING * forgets
        self._end(job_id, fence, JobState.DONE, values, (result, *_told(mark)), keep_seconds=keep_seconds)

    def give_up(self, job_id: UUID, fence: int, error: str, *, keep_seconds: float) -> None:
        """Write that a job has failed for good.

        Raises:
            JobFencedError: Somebody else has the job.
        """
        self._end(job_id, fence, JobState.DEAD, "error = %s", (error,), keep_seconds=keep_seconds)

    def stop(self, job_id: UUID, fence: int, *, keep_seconds: float) -> None:
        """Write that a job has stopped because somebody wanted it to.

        Raises:
            JobFencedError: Somebody else has the job.
        """
        self._end(job_id, fence, JobState.CANCELLED, "error = ''", (), keep_seconds=keep_seconds)

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
        row = self._one(
            f"""
            UPDATE perfkit_job
            SET state = 'queued', failures = failures + %s, losses = losses + %s, error = %s, sent = 0,
                not_before = {self._in_seconds}, due_at = {self._in_seconds}
            WHERE {_HELD} RETURNING 1
            """,
            (failures, losses, error, delay_seconds, delay_seconds, self._id(job_id), fence),
        )
        if row is None:
            raise JobFencedError(str(job_id))

    def claim_due(self, *, most: int) -> list[Due]:
        """Return jobs that are to be sent again, longest due first; nobody else is given them for a while.

        One whose lease has ended is queued again.
        """
        connection = self._connection
        now = _now(connection)
        locking = "FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""
        waits = " ".join(
            f"WHEN sent = {sent} THEN {SEND_AGAIN_SECONDS * SEND_AGAIN_FACTOR**sent}"
            for sent in range(MOST_SENT)
        )
        longest = SEND_AGAIN_SECONDS * SEND_AGAIN_FACTOR**MOST_SENT
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                UPDATE perfkit_job
                SET due_at = {_after(connection, f"CASE {waits} ELSE {longest} END")}, sent = sent + 1,
                    losses = losses + CASE WHEN state = 'running' THEN 1 ELSE 0 END,
                    state = 'queued'
                WHERE id IN (
                    SELECT id FROM perfkit_job WHERE due_at < {now} ORDER BY due_at LIMIT %s {locking}
                )
                RETURNING id, name, queue
                """,
                (most,),
            )
            return [
                Due(job_id if isinstance(job_id, UUID) else UUID(job_id), name, queue)
                for job_id, name, queue in cursor.fetchall()
            ]

    def want_cancelled(self, job_id: UUID) -> str | None:
        """Have a job stop: one that waits at once, one that runs at its next step; return its state then.

        Returns:
            None where there is no such job.
        """
        now = _now(self._connection)
        row = self._one(
            f"""
            UPDATE perfkit_job
            SET is_cancel_wanted = (state IN ('queued', 'running')),
                finished_at = CASE WHEN state = 'queued' THEN {now} ELSE finished_at END,
                due_at = CASE WHEN state = 'queued' THEN NULL ELSE due_at END,
                state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END
            WHERE id = %s RETURNING state
            """,
            (self._id(job_id),),
        )
        return None if row is None else str(row[0])

    def _end(
        self,
        job_id: UUID,
        fence: int,
        state: JobState,
        assignments: str,
        values: Sequence[Any],
        *,
        keep_seconds: float,
    ) -> None:
        row = self._one(
            f"""
            UPDATE perfkit_job
            SET state = '{state.value}', {assignments}, due_at = NULL,
                finished_at = {_now(self._connection)}, expires_at = {self._in_seconds}
            WHERE {_HELD} RETURNING 1
            """,
            (*values, keep_seconds, self._id(job_id), fence),
        )
        if row is None:
            raise JobFencedError(str(job_id))

    @property
    def _connection(self) -> BaseDatabaseWrapper:
        return connections[self.using]

    @property
    def _in_seconds(self) -> str:
        return _after(self._connection, "%s")

    def _id(self, job_id: UUID) -> Any:
        return job_id if self._connection.features.has_native_uuid_field else job_id.hex

    def _one(self, sql: str, params: Sequence[Any]) -> tuple[Any, ...] | None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, params)
            row: tuple[Any, ...] | None = cursor.fetchone()
            return row


_HELD: Final = "id = %s AND fence = %s AND state = 'running'"
_FORGETTING: Final = ", arguments = '[[], {}]'"


def _told(mark: Mark) -> tuple[int | None, int | None, str]:
    return mark.current, mark.total, mark.message[:255]


def _now(connection: BaseDatabaseWrapper) -> str:
    """Return SQL of this moment on the database's clock, also within a transaction."""
    if connection.vendor == "postgresql":
        return "CLOCK_TIMESTAMP()"
    return "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')"


def _after(connection: BaseDatabaseWrapper, seconds: str) -> str:
    """Return SQL of the moment in so many seconds, which are SQL themselves."""
    if connection.vendor == "postgresql":
        return f"CLOCK_TIMESTAMP() + ({seconds}) * INTERVAL '1 second'"
    return f"STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW', ({seconds}) || ' seconds')"


def _seconds_since(connection: BaseDatabaseWrapper, moment: str) -> str:
    """Return SQL of the seconds between a moment and this one."""
    if connection.vendor == "postgresql":
        return f"EXTRACT(EPOCH FROM CLOCK_TIMESTAMP() - {moment})::float8"
    return f"(JULIANDAY('NOW') - JULIANDAY({moment})) * 86400.0"
