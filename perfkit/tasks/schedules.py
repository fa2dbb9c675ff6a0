"""Schedules as Celery's beat knows them: it asks whether one is due, by a task of `perfkit.tasks.ticks`.

Nothing of Django but its settings is needed here, for Celery's configuration is read before Django is up.
"""

from __future__ import annotations

import datetime as dt
import os
from typing import Any, Final

from celery.schedules import ParseException, crontab
from django.conf import ENVIRONMENT_VARIABLE
from django.conf import settings as django_settings
from django.utils import timezone

from perfkit.conf import options
from perfkit.schedules import schedule_of

TICK: Final = "perfkit.tick"


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


def cron_after(cron: str, moment: dt.datetime) -> dt.datetime:
    """Return when a cron expression is due first after a moment, in Celery's time zone.

    Raises:
        ValueError: It is none.
    """
    schedule = read_cron(cron)
    start, delta, _ = schedule.remaining_delta(moment)
    following: dt.datetime = start + delta
    return following.astimezone(timezone.get_default_timezone())


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
