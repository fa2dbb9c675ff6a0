"""Schedules as Celery's beat knows them: it asks whether one is due, by a task of `perfkit.tasks.ticks`.

Nothing of Django but its settings is needed here, for Celery's configuration is read before Django is up.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from typing import Any, Final

from celery.schedules import ParseException, crontab
from django.conf import ENVIRONMENT_VARIABLE
from django.conf import settings as django_settings

from perfkit.conf import options
from perfkit.schedules import schedule_of

TICK: Final = "perfkit.tick"

MINUTE: Final = dt.timedelta(minutes=1)
LONGEST_FOLD: Final = dt.timedelta(hours=3)
"""Longer than any zone has put its clocks back by."""


def beat_entries() -> dict[str, dict[str, Any]]:
    """Return the entries of `beat_schedule`, one for each of `PERFKIT["SCHEDULES"]`.

    Raises:
        SettingsError: The option is not valid.
    """
    return {f"perfkit {name}": _entry(name, entry) for name, entry in options.SCHEDULES.items()}


def beat_entries_of_settings() -> dict[str, dict[str, Any]]:
    """Return the entries; none where there are no Django settings.

    Raises:
        SettingsError: The option is not valid.
        ValueError: One of the cron expressions is none.
    """
    has_settings = django_settings.configured or os.environ.get(ENVIRONMENT_VARIABLE)
    return beat_entries() if has_settings else {}


def schedule_beats(conf: Any) -> None:
    """Add the entries to `beat_schedule` of Celery's configuration; those of the project win."""
    if entries := beat_entries_of_settings():
        conf["beat_schedule"] = {**entries, **(conf.get("beat_schedule") or {})}


def cron_after(cron: str, moment: dt.datetime, *, zone: dt.tzinfo | None = None) -> dt.datetime:
    """Return when a cron expression is due first after a moment.

    Where clocks are put back, what is due at any hour is due in both of the hours that are called the same,
    and what is due at a certain hour once. Where they are put forward, what falls into the gap is due after it.

    Args:
        zone: Whose clocks; those of Celery's `timezone` by default.

    Raises:
        ValueError: It is none.
    """
    schedule: Any = read_cron(cron)  # the stubs lack what it reads
    clocks: dt.tzinfo = zone or schedule.tz
    at = wall = moment.astimezone(clocks)
    while at <= moment:
        # Celery reckons by the clock's face, so it is given one that is never put forward or back.
        start, delta, _ = schedule.remaining_delta(wall.replace(tzinfo=dt.UTC), tz=dt.UTC)
        wall = (start + delta).replace(tzinfo=clocks, fold=0)
        at = wall.astimezone(dt.UTC)
    if cron.split()[1].startswith("*"):
        at = next(_fitting(schedule, moment, at, clocks), at)
    return at


def _fitting(
    schedule: Any, moment: dt.datetime, before: dt.datetime, clocks: dt.tzinfo
) -> Iterator[dt.datetime]:
    """Yield the minutes of the next hours, before one, at which a cron expression is due by its clocks."""
    minute = moment.astimezone(dt.UTC).replace(second=0, microsecond=0) + MINUTE
    while minute < min(before, moment + LONGEST_FOLD):
        wall = minute.astimezone(clocks)
        if (
            wall.minute in schedule.minute
            and wall.hour in schedule.hour
            and wall.day in schedule.day_of_month
            and wall.month in schedule.month_of_year
            and wall.isoweekday() % 7 in schedule.day_of_week
        ):
            yield minute
        minute += MINUTE


def read_cron(cron: str) -> crontab:
    """Read a cron expression.

    Raises:
        ValueError: It is none.
    """
    try:
        return crontab.from_string(cron)
    except (ParseException, ValueError) as error:
        raise ValueError(f"the cron expression {cron!r} cannot be read: {error}") from error


def _entry(name: str, entry: object) -> dict[str, Any]:
    schedule = schedule_of(entry)
    if schedule.cron is not None:
        return {"task": TICK, "schedule": read_cron(schedule.cron), "args": [name]}
    return {
        "task": TICK,
        "schedule": schedule.every_seconds,
        "args": [name],
        "options": {"expires": schedule.every_seconds},
    }
