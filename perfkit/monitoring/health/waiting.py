"""Checks of what waits to be done: jobs that nobody has begun, dead letters, schedules that nobody asks."""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.db import router
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from perfkit.conf import options
from perfkit.jobs.control import all_jobs
from perfkit.models import Job, JobSchedule, JobState
from perfkit.monitoring.health.databases import hasty, late
from perfkit.monitoring.health.registry import health_check
from perfkit.monitoring.health.results import Finding, degraded, failed

MOST_COUNTED: Final = 1_000
DEATHS_HOURS: Final = 1


@health_check("jobs")
def check_jobs() -> Finding | None:
    """Look for jobs that should have begun long ago, and for those that have failed for good of late.

    Queries: Five, each by an index, however many jobs have ended.
    """
    with hasty(router.db_for_write(Job)):
        jobs = all_jobs()
        waits = Q(state=JobState.QUEUED, enqueued_at__lt=late()) & (
            Q(not_before=None) | Q(not_before__lt=late())
        )
        was_lost = Q(state=JobState.RUNNING, due_at__lt=late())
        overdue = _counted(jobs.filter(waits | was_lost, due_at__isnull=False))
        recently = Now() - dt.timedelta(hours=DEATHS_HOURS)
        dead = _counted(jobs.filter(state=JobState.DEAD, finished_at__gt=recently))
    problems = []
    if overdue:
        problems.append(
            f"{_number(overdue)} should have begun more than {options.HEALTH_OVERDUE_AFTER:g} s ago"
        )
    if dead > options.HEALTH_MOST_DEAD_JOBS:
        problems.append(f"{_number(dead)} failed for good in the last hour")
    return failed("; ".join(problems)) if problems else None


@health_check("schedules")
def check_schedules() -> Finding | None:
    """Look for schedules whose time is over and whom nobody has asked, as where Celery's beat is gone."""
    names = sorted(options.SCHEDULES)
    if not names:
        return None
    using = router.db_for_write(Job)
    with hasty(using):
        rows = JobSchedule._base_manager.using(using).filter(name__in=names)
        overdue = sorted(rows.filter(next_at__lt=late()).values_list("name", flat=True))
        known = set(rows.values_list("name", flat=True))
    if overdue:
        return failed(f"overdue: {', '.join(overdue)}")
    never = [name for name in names if name not in known]
    return degraded(f"never asked: {', '.join(never)}") if never else None


def _counted(rows: QuerySet[Job]) -> int:
    return rows.order_by()[: MOST_COUNTED + 1].count()


def _number(count: int) -> str:
    return f"more than {MOST_COUNTED:,}" if count > MOST_COUNTED else f"{count:,}"
