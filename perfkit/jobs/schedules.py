"""Schedules: a job is enqueued once each time, however many ask for it.

Celery's beat asks, see `perfkit.tasks.schedules`; of two beats, or of a message that comes twice, one is answered.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db import models, router, transaction
from django.db.models.functions import Now

from perfkit.conf import options
from perfkit.errors import (
    CacheKeyError,
    JobArgumentError,
    PerfkitError,
    UnknownJobError,
    UnknownScheduleError,
)
from perfkit.jobs.arguments import arguments_text
from perfkit.jobs.declared import job_named
from perfkit.jobs.modules import load_jobs
from perfkit.jobs.status import JobStatus
from perfkit.models import Job, JobSchedule
from perfkit.schedules import Schedule, schedule_of

logger = logging.getLogger("perfkit.jobs")

CronAfter = Callable[[str, dt.datetime], dt.datetime]
"""The first moment after one at which a cron expression is due."""

EARLY_SECONDS: Final = 60.0
"""So much sooner than it should a tick may come, for the one before may have taken long from beat to worker.
In short intervals it is a quarter; in the long run it stays one job an interval."""

EARLY_CRON_SECONDS: Final = 5.0
"""Of a beat whose clock is ahead of the database's."""

LATE_SECONDS: Final = 60.0
"""So long after its time nobody has asked: the beat is lost, or its message."""

LONG_AGO: Final = dt.datetime.fromtimestamp(0, dt.UTC)


@dataclass(frozen=True, slots=True)
class ShownSchedule:
    """A schedule, and what came of it so far.

    Attributes:
        last_at: None where it was never due.
        next_at: None likewise.
        job_id: Of the job that was enqueued last.
    """

    name: str
    schedule: Schedule
    last_at: dt.datetime | None
    next_at: dt.datetime | None
    job_id: UUID | None


def schedule_named(name: str) -> Schedule:
    """Return a schedule of the settings.

    Raises:
        UnknownScheduleError: They have none of that name.
    """
    entries = options.SCHEDULES
    if name not in entries:
        raise UnknownScheduleError(name, list(entries))
    return schedule_of(entries[name])


def problem_with_schedule(name: str) -> str:
    """Say why a schedule could not enqueue its job; nothing where it could."""
    schedule = schedule_named(name)
    load_jobs()
    try:
        job = job_named(schedule.job)
        job.key_text(schedule.args, dict(schedule.kwargs or {}))
        arguments_text(job.name, schedule.args, schedule.kwargs or {})
    except (UnknownJobError, JobArgumentError, CacheKeyError) as error:
        return str(error)
    return ""


def list_schedules() -> list[ShownSchedule]:
    """Return all schedules of the settings, by name.

    Queries:
        One.
    """
    rows = _rows(router.db_for_write(Job)).in_bulk(list(options.SCHEDULES))
    shown = []
    for name in sorted(options.SCHEDULES):
        row = rows.get(name)
        known = (row.last_at, row.next_at, row.job_id) if row is not None else (None, None, None)
        shown.append(ShownSchedule(name, schedule_named(name), *known))
    return shown


def tick(name: str, *, cron_after: CronAfter) -> JobStatus | None:
    """Enqueue the job of a schedule if it is due, and move its time on, in one transaction.

    What was missed while nobody asked is made up for once. A schedule that is new, or was changed, is due at once.

    Returns:
        The job; None where it is not due.

    Raises:
        UnknownScheduleError: There is none of that name.
        UnknownJobError: Nor a job of the name that it says.

    Queries:
        Five.
    """
    schedule = schedule_named(name)
    job = job_named(schedule.job)
    using = router.db_for_write(Job)
    rows = _rows(using)
    with transaction.atomic(using=using):
        rows.bulk_create(
            [JobSchedule(name=name, text=schedule.text, next_at=LONG_AGO)], ignore_conflicts=True
        )
        row = rows.select_for_update().annotate(now=Now()).get(pk=name)
        now: dt.datetime = row.now
        if row.text != schedule.text:
            row.next_at = LONG_AGO
        if row.next_at > now + _early(schedule):
            return None
        status: JobStatus = job.using(queue=schedule.queue).enqueue(*schedule.args, **(schedule.kwargs or {}))
        rows.filter(pk=name).update(
            text=schedule.text,
            next_at=_following(schedule, row.next_at, now, cron_after),
            last_at=now,
            job_id=status.id,
        )
    return status


def ask_late(*, cron_after: CronAfter) -> None:
    """Ask for what no beat has asked for in time; what was never asked for is left to beats.

    Queries:
        One where there are schedules, and those of `tick` for each that is late.
    """
    if not options.SCHEDULES:
        return
    rows = _rows(router.db_for_write(Job)).filter(name__in=list(options.SCHEDULES))
    late = rows.filter(next_at__lt=Now() - dt.timedelta(seconds=LATE_SECONDS))
    for name in late.values_list("name", flat=True):
        try:
            tick(name, cron_after=cron_after)
        except PerfkitError:
            logger.exception("The schedule %s could not enqueue its job", name)


def _following(
    schedule: Schedule, due_at: dt.datetime, now: dt.datetime, cron_after: CronAfter
) -> dt.datetime:
    """Return when it is due next; every so many seconds is counted from when it was due, so it does not drift."""
    if schedule.cron is not None:
        return cron_after(schedule.cron, now + _early(schedule))
    every = dt.timedelta(seconds=schedule.every_seconds or 0)
    if due_at == LONG_AGO:
        return now + every
    missed: int = max(0, (now + _early(schedule) - due_at) // every)
    return due_at + (missed + 1) * every


def _early(schedule: Schedule) -> dt.timedelta:
    if schedule.every_seconds is None:
        return dt.timedelta(seconds=EARLY_CRON_SECONDS)
    return dt.timedelta(seconds=min(EARLY_SECONDS, schedule.every_seconds / 4))


def _rows(using: str) -> models.QuerySet[JobSchedule]:
    return JobSchedule._base_manager.using(using)
