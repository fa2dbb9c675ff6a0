"""Runs a job: takes its row, calls its function, and writes down what came of it."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from asgiref.sync import async_to_sync
from django.db import Error, InterfaceError, OperationalError, connections, transaction

from perfkit.errors import JobCancelledError, JobFencedError, UnknownJobError
from perfkit.jobs.arguments import hidden, result_text
from perfkit.jobs.beats import beats
from perfkit.jobs.declared import PROGRESS, JobFunction, is_job, job_named
from perfkit.jobs.modules import load_jobs
from perfkit.jobs.retries import Retries
from perfkit.jobs.rows import JobRows, Taken
from perfkit.jobs.runs import JobRun, entered, left
from perfkit.signals import job_ended, work
from perfkit.tracing import origins
from perfkit.tracing.origins import Origin

logger = logging.getLogger("perfkit.jobs")

MOST_LOSSES: Final = 10
"""A job that has lost so many workers in one place may be what kills them."""

UNKNOWN_AGAIN_SECONDS: Final = 30.0
"""Another worker may have newer code."""

ERROR_CHARACTERS: Final = 4000

_LOST: Final = Retries(errors=(OperationalError, InterfaceError), backoff_seconds=1.0, longest_seconds=60.0)
"""The database itself was lost, or would not have both of two transactions; nobody need declare that."""


class _Run:
    """One run, from its row's taking to its row's end."""

    def __init__(self, rows: JobRows, taken: Taken, job: JobFunction[..., Any]) -> None:
        self.rows = rows
        self.taken = taken
        self.job = job
        self.run = JobRun(taken, lease_seconds=job.lease_seconds)
        self._is_finished = False
        self._has_stepped = False

    def perform(self) -> None:
        """Call the function and end the job, in one transaction or in one for each step."""
        self.run.check()
        if self.job.has_steps:
            self._take_steps()
        elif self.job.is_atomic:
            with transaction.atomic(using=self.rows.using):
                self._finish(self._call())
        else:
            self._finish(self._call())

    def _call(self) -> Any:
        args, kwargs = self.taken.arguments
        if self.job.takes_progress:
            kwargs = {**kwargs, PROGRESS: self.run.progress}
        function: Callable[..., Any] = self.job.function
        return (async_to_sync(function) if self.job.is_async else function)(*args, **kwargs)

    def _take_steps(self) -> None:
        steps = self._call()
        try:
            while True:
                with transaction.atomic(using=self.rows.using):
                    try:
                        checkpoint = next(steps)
                    except StopIteration as end:
                        self._finish(end.value)
                        return
                    kept = result_text(self.job.name, checkpoint)
                    is_cancel_wanted = self.rows.step(self.run.id, self.run.fence, kept, mark=self.run.mark)
                self.run.checkpoint = json.loads(kept)
                self._has_stepped = True
                if is_cancel_wanted:
                    self.run.tell_cancelled()
                self.run.check()
        finally:
            steps.close()

    def _finish(self, result: Any) -> None:
        self.rows.finish(
            self.run.id,
            self.run.fence,
            result_text(self.job.name, result),
            keep_seconds=self.job.ttl_seconds,
            mark=self.run.mark,
            frees_key=not self.job.is_reused,
            forgets=self.job.is_forgotten,
        )
        self._is_finished = True

    def stopped(self) -> None:
        """Write down that it was cancelled."""
        self.rows.stop(self.run.id, self.run.fence, keep_seconds=self.job.ttl_seconds)

    @property
    def names(self) -> tuple[str, UUID]:
        """What a line of the log calls it."""
        return self.job.name, self.run.id

    def is_committed(self) -> bool:
        """Say whether it is done, whatever was raised after its end was written."""
        try:
            return self._is_finished and self.rows.is_done(self.run.id, self.run.fence)
        except Error:
            return False  # the database is lost: the lease says what becomes of it

    def given_up(self) -> None:
        """Write down that it is not tried again, for it may be what its workers die of."""
        text = f"It has lost {self.taken.losses} workers one after the other, and may be what kills them."
        self.rows.give_up(self.run.id, self.run.fence, text, keep_seconds=self.job.ttl_seconds)
        logger.error("Job %s %s is given up: %s", *self.names, text)

    def failed(self, error: BaseException) -> str:
        """Write down that it failed, for now or for good; return the outcome."""
        text = hidden(_text_of(error), self.taken.arguments)[-ERROR_CHARACTERS:]
        if self._has_stepped and isinstance(error, _limit_errors()):
            self.rows.put_back(self.run.id, self.run.fence, text, delay_seconds=0)
            logger.info("Job %s %s goes on in another run, for the time of this one is over.", *self.names)
            return "retried"
        failures, losses = self.taken.failures, self.taken.losses
        if self.job.retries.are_left(error, failures=failures):
            delay = self.job.retries.delay_seconds(failures)
            self.rows.put_back(self.run.id, self.run.fence, text, delay_seconds=delay, failures=1)
            logger.warning(
                "Job %s %s failed, and is tried again in %.1f s: %s",
                self.job.name,
                self.run.id,
                delay,
                type(error).__name__,
            )
            return "retried"
        if isinstance(error, _LOST.errors) and losses < MOST_LOSSES:
            delay = _LOST.delay_seconds(losses)
            self.rows.put_back(self.run.id, self.run.fence, text, delay_seconds=delay, losses=1)
            logger.warning("Job %s %s lost its database, and is tried again.", self.job.name, self.run.id)
            return "retried"
        self.rows.give_up(self.run.id, self.run.fence, text, keep_seconds=self.job.ttl_seconds)
        return "failed"


def run_job(job_id: UUID, *, using: str | None = None) -> str | None:
    """Run a job, if it is there to be run.

    Returns:
        What became of it: `done`, `retried`, `cancelled`, or `fenced`, where somebody else has it now.
        None where nothing was run: there is no such job, it has ended, it is not time yet, or somebody holds it.

    Raises:
        Whatever its function has raised for good; the job is a dead letter by then.

    Queries:
        Two, and those of its function.
    """
    rows = JobRows(using)
    taken = _taken(rows, job_id)
    if taken is None:
        return None
    with origins.entered(_origin_of(taken)):
        return _run_taken(rows, taken)


def _origin_of(taken: Taken) -> Origin | None:
    """Return where a job comes from: what its row says, else what this code is run for."""
    if taken.request_id or taken.traceparent:
        return Origin(taken.request_id or str(taken.id), traceparent=taken.traceparent, task=taken.name)
    return origins.current.get() or Origin(str(taken.id), task=taken.name)


def _run_taken(rows: JobRows, taken: Taken) -> str:
    job_id = taken.id
    try:
        job = _job_named(taken.name)
    except UnknownJobError as error:
        rows.put_back(job_id, taken.fence, str(error), delay_seconds=UNKNOWN_AGAIN_SECONDS)
        logger.warning("%s It is left to another worker.", error)
        return "retried"
    return _run(_Run(rows, taken, job))


def _taken(rows: JobRows, job_id: UUID) -> Taken | None:
    """Take a job; where the connection was kept since the last one and has broken meanwhile, by a new one."""
    worker = f"{socket.gethostname()}:{os.getpid()}"
    try:
        return rows.take(job_id, worker=worker)
    except (OperationalError, InterfaceError):
        connection = connections[rows.using]
        if connection.in_atomic_block:
            raise
        connection.close_if_unusable_or_obsolete()
        if connection.connection is not None:
            raise
    # If the first one has reached the database nevertheless, this takes nothing, and the lease ends.
    return rows.take(job_id, worker=worker)


def _job_named(name: str) -> JobFunction[..., Any]:
    if not is_job(name):
        load_jobs()  # a worker of another queue than Celery's has imported none
    return job_named(name)


def _run(this: _Run) -> str:
    started = time.perf_counter()
    token = entered(this.run)
    outcome = "failed"
    try:
        with work.begin("job", this.job, job_id=str(this.run.id), queue=this.taken.queue) as doing:
            try:
                with beats.keeping(this.run, this.rows):
                    outcome = _outcome(this)
            finally:
                doing.tell(outcome=outcome)
        return outcome
    finally:
        left(token)
        job_ended.send_robust(
            sender=this.job,
            outcome=outcome,
            wait_seconds=this.taken.waited_seconds,
            run_seconds=time.perf_counter() - started,
            failures=this.taken.failures,
        )


def _outcome(this: _Run) -> str:
    try:
        if this.taken.losses >= MOST_LOSSES:
            this.given_up()
            return "failed"
        return _performed(this)
    except JobFencedError:
        logger.warning("Job %s %s was taken by somebody else meanwhile.", this.job.name, this.run.id)
        return "fenced"


def _performed(this: _Run) -> str:
    try:
        this.perform()
    except JobFencedError:
        raise
    except JobCancelledError:
        this.stopped()
        return "cancelled"
    except Exception as error:
        connections[this.rows.using].close_if_unusable_or_obsolete()
        if this.is_committed():
            logger.exception("Job %s %s is done, and what was to follow its COMMIT has failed", *this.names)
            return "done"
        if this.run.is_cancel_wanted:
            this.stopped()
            return "cancelled"
        outcome = this.failed(error)
        if outcome == "failed":
            raise
        return outcome
    except BaseException:
        # The process is told to end: somebody else begins at once, unless that happens again and again.
        losses = this.taken.losses
        delay = _LOST.delay_seconds(losses) if losses else 0.0
        with suppress(JobFencedError, Error):
            this.rows.put_back(this.run.id, this.run.fence, "", delay_seconds=delay, losses=1)
        raise
    return "done"


def _limit_errors() -> tuple[type[BaseException], ...]:
    from perfkit.jobs.backends import current_backend  # which runs jobs itself

    return current_backend().limit_errors


def _text_of(error: BaseException) -> str:
    """Return what a dead letter says of an error: its end, for that names the cause."""
    return "".join(traceback.format_exception(error)).strip().replace("\0", "")
