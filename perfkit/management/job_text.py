"""What `perfkit_jobs` prints: a table of jobs or of schedules, one job, and all of it as JSON. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.utils.timezone import localtime

from perfkit.jobs.lists import ShownJob
from perfkit.jobs.schedules import ShownSchedule

HEADINGS: Final = ("id", "state", "name", "queue", "progress", "runs", "waited", "enqueued")
NUMBERS: Final = frozenset({"progress", "runs", "waited"})
MINUTE: Final = 60
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR


def table_lines(jobs: Sequence[ShownJob]) -> Iterator[str]:
    """Yield a table of jobs, its columns as wide as what is in them."""
    yield from _aligned([HEADINGS, *map(_cells, jobs)])


def schedule_lines(schedules: Sequence[ShownSchedule]) -> Iterator[str]:
    """Yield a table of schedules."""
    yield from _aligned(
        [
            ("name", "job", "how often", "last", "next", "last job"),
            *(
                (
                    each.name,
                    each.schedule.job,
                    each.schedule.text,
                    _moment(each.last_at) or "-",
                    _moment(each.next_at) or "when a beat asks",
                    str(each.job_id or "-"),
                )
                for each in schedules
            ),
        ]
    )


def schedule_json(each: ShownSchedule) -> dict[str, Any]:
    """Return a schedule as values that JSON has."""
    return {
        "name": each.name,
        "job": each.schedule.job,
        "every_seconds": each.schedule.every_seconds,
        "cron": each.schedule.cron,
        "last_at": None if each.last_at is None else each.last_at.isoformat(),
        "next_at": None if each.next_at is None else each.next_at.isoformat(),
        "job_id": None if each.job_id is None else str(each.job_id),
    }


def job_lines(job: ShownJob) -> Iterator[str]:
    """Yield all that is shown of one job, an aligned line each, and its error last."""
    status, progress = job.status, job.status.progress
    values: dict[str, Any] = {
        "id": status.id,
        "name": status.name,
        "state": f"{status.state}{', to be cancelled' if job.is_cancel_wanted and not status.is_ended else ''}",
        "queue": job.queue or "as the routes say",
        "arguments": ", ".join(f"{name}={text}" for name, text in job.arguments.items()),
        "runs": status.runs,
        "failures": job.failures,
        "lost workers": job.losses,
        "worker": job.worker,
        "progress": ""
        if progress is None
        else f"{progress.current:,} of {progress.total:,}, {_percent(job)}",
        "message": "" if progress is None else progress.message,
        "left": "" if progress is None else _span(progress.eta_seconds),
        "waited": _span(job.waited_seconds),
        **{name.replace("_", " "): _moment(moment) for name, moment in _moments(job).items()},
    }
    shown = {name: str(value) for name, value in values.items() if value not in {"", None}}
    width = max(map(len, shown))
    for name, text in shown.items():
        yield f"{name.ljust(width)}  {text}"
    if status.error:
        yield ""
        yield status.error


def job_json(job: ShownJob) -> dict[str, Any]:
    """Return the same as values that JSON has; the result of a job is not shown, for it may be secret."""
    status, progress = job.status, job.status.progress
    return {
        "id": str(status.id),
        "name": status.name,
        "state": status.state.value,
        "queue": job.queue,
        "arguments": job.arguments,
        "runs": status.runs,
        "failures": job.failures,
        "losses": job.losses,
        "worker": job.worker,
        "is_cancel_wanted": job.is_cancel_wanted,
        "progress": None
        if progress is None
        else {name: getattr(progress, name) for name in progress.__slots__},
        "waited_seconds": job.waited_seconds,
        **{name: None if moment is None else moment.isoformat() for name, moment in _moments(job).items()},
        "error": status.error,
    }


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if heading in NUMBERS else cell.ljust(width)
            for cell, width, heading in zip(row, widths, rows[0], strict=True)
        ]
        yield "  ".join(cells).rstrip()


def _moments(job: ShownJob) -> dict[str, dt.datetime | None]:
    return {
        "enqueued_at": job.enqueued_at,
        "not_before": job.not_before,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "due_at": job.due_at,
        "expires_at": job.expires_at,
    }


def _cells(job: ShownJob) -> tuple[str, ...]:
    status = job.status
    return (
        str(status.id),
        status.state.value,
        status.name,
        job.queue or "-",
        _percent(job) or "-",
        str(status.runs),
        _span(job.waited_seconds) or "-",
        _moment(job.enqueued_at),
    )


def _percent(job: ShownJob) -> str:
    return "" if job.status.progress is None else f"{job.status.progress.percent:.0f} %"


def _moment(moment: dt.datetime | None) -> str:
    return "" if moment is None else f"{localtime(moment):%Y-%m-%d %H:%M:%S}"


def _span(seconds: float | None) -> str:
    """Return a length of time by its largest two units.

    Example:
        >>> [_span(seconds) for seconds in (None, 0.25, 59.94, 61, 3 * 3600 + 120, 2 * 86400 + 3600)]
        ['', '0.2 s', '59.9 s', '1 min 1 s', '3 h 2 min', '2 d 1 h']
    """
    if seconds is None:
        return ""
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} min {int(seconds % MINUTE)} s"
    if seconds < DAY:
        return f"{int(seconds // HOUR)} h {int(seconds % HOUR // MINUTE)} min"
    return f"{int(seconds // DAY)} d {int(seconds % DAY // HOUR)} h"
