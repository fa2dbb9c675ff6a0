"""The task that Celery's beat sends for each schedule; the database says whether it is due."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from perfkit.jobs.declared import job_named
from perfkit.jobs.schedules import tick
from perfkit.tasks.schedules import TICK, cron_after


@shared_task(name=TICK, ignore_result=True)
def ask(name: str) -> str | None:
    """Enqueue the job of a schedule if it is due; return its id."""
    status = tick(name, cron_after=cron_after)
    return None if status is None else str(status.id)


@shared_task(name="perfkit.enqueue", ignore_result=True)
def enqueue(name: str, args: list[Any] | None = None, kwargs: dict[str, Any] | None = None) -> str:
    """Enqueue a job, for schedules that people make elsewhere, such as in the admin of django-celery-beat.

    Returns:
        Its id.

    Raises:
        UnknownJobError, JobArgumentError: It cannot be.
    """
    return str(job_named(name).enqueue(*(args or []), **(kwargs or {})).id)
