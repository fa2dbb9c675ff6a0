"""Schedules: which job, how often, with what, and how that is written in settings. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

KEYS: Final = ("job", "every", "cron", "args", "kwargs", "queue")
LEAST_SECONDS: Final = 1.0
CRON_FIELDS: Final = 5
_CRON: Final = re.compile(r"[\w*/,\-]+( [\w*/,\-]+){4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A job that is enqueued again and again.

    Attributes:
        job: Its name.
        every_seconds: How often; None where `cron` says when.
        cron: Minute, hour, day of the month, month, day of the week, in Celery's time zone; None where it is
            every so many seconds.
        queue: None for that of the job.
    """

    job: str
    every_seconds: float | None
    cron: str | None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None
    queue: str | None = None

    @property
    def text(self) -> str:
        """How often, for people."""
        return f"every {self.every_seconds:g} s" if self.every_seconds is not None else f"cron {self.cron}"


def schedule_of(entry: object) -> Schedule:
    """Read an entry of `PERFKIT["SCHEDULES"]`.

    Raises:
        ValueError: It means nothing; says what to write.

    Example:
        >>> schedule_of({"job": "perfkit.warm_cache", "every": 300}).text
        'every 300 s'
    """
    if not isinstance(entry, Mapping) or not set(entry) <= set(KEYS):
        raise ValueError(f"an entry is a dict with some of the keys {', '.join(KEYS)}.")
    job = entry.get("job")
    if not isinstance(job, str) or not job:
        raise ValueError("'job' must be the name of a job, such as 'perfkit.warm_cache'.")
    every, cron = entry.get("every"), entry.get("cron")
    if (every is None) == (cron is None):
        raise ValueError("it needs either 'every' or 'cron'.")
    args, kwargs, queue = entry.get("args", ()), entry.get("kwargs") or {}, entry.get("queue")
    is_right = (
        isinstance(args, list | tuple) and isinstance(kwargs, Mapping) and isinstance(queue, str | None)
    )
    if not is_right:
        raise ValueError("'args' must be a list, 'kwargs' a dict, and 'queue' a text.")
    return Schedule(
        job,
        None if every is None else _seconds(every),
        None if cron is None else _cron(cron),
        tuple(args),
        dict(kwargs),
        queue,
    )


def _seconds(every: object) -> float:
    seconds = every.total_seconds() if isinstance(every, dt.timedelta) else every
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= LEAST_SECONDS:
        raise ValueError("'every' must be seconds, at least 1, or a timedelta.")
    return float(seconds)


def _cron(cron: object) -> str:
    if not isinstance(cron, str) or not _CRON.fullmatch(cron):
        raise ValueError(f"'cron' must have {CRON_FIELDS} fields, such as '0 3 * * *'.")
    return cron
