"""Jobs as Celery tasks: a message carries the id of a job's row, and nothing else.

The row says what is to be done and who may do it, so the message is acknowledged before it is done:
what a lost worker leaves is found by the lease of its job, not by the broker's visibility timeout.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any, Final
from uuid import UUID

from celery import current_app, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import worker_ready, worker_shutting_down

from perfkit.conf import options
from perfkit.jobs.backends import ImmediateJobs, JobBackend
from perfkit.jobs.declared import JobFunction, has_jobs, on_each_job
from perfkit.jobs.modules import READY
from perfkit.jobs.recovery import Recovery
from perfkit.jobs.running import run_job
from perfkit.jobs.schedules import ask_late
from perfkit.tasks.limits import QUEUE
from perfkit.tasks.schedules import cron_after


class CeleryJobs(JobBackend):
    """Sends jobs as tasks of their names, by the project's Celery app."""

    limit_errors = (SoftTimeLimitExceeded,)

    def send(self, job_id: UUID, *, name: str, queue: str | None) -> None:
        """Send the message; without a queue of its own, the routes for the name decide.

        Where tasks are eager the job runs at once, and what it raises is in its row.
        """
        if current_app.conf.task_always_eager:
            ImmediateJobs().send(job_id, name=name, queue=queue)
            return
        options: dict[str, Any] = {}
        if queue is not None:
            options["queue"] = queue
        # Not tried again here: a request would wait, and the row is sent later by itself.
        options |= {"task_id": str(job_id), "ignore_result": True, "retry": False}
        current_app.send_task(name, args=[str(job_id)], **options)


def _register(job: JobFunction[..., Any]) -> None:
    own = {QUEUE: job.queue, "soft_time_limit": job.soft_limit, "time_limit": job.hard_limit}
    options: dict[str, Any] = {name: value for name, value in own.items() if value is not None}

    def carried(job_id: str) -> str | None:
        return run_job(UUID(job_id))

    register: Any = shared_task(name=job.name, ignore_result=True, acks_late=False, **options)
    register(carried)


_recovery: Final = Recovery(also=partial(ask_late, cron_after=cron_after))


def _begin(**_: Any) -> None:
    if has_jobs() or options.SCHEDULES:
        _recovery.start()


def _end(**_: Any) -> None:
    _recovery.stop()


def install() -> None:
    """Register a task for each job, and have workers look for what is due; once."""
    for module in READY:
        import_module(module)
    on_each_job(_register)
    worker_ready.connect(_begin, weak=False, dispatch_uid="perfkit.tasks.jobs.begin")
    worker_shutting_down.connect(_end, weak=False, dispatch_uid="perfkit.tasks.jobs.end")


install()
