"""What people did on the site."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from django.db.models import Count, Max
from django.db.models.functions import TruncDate
from django.utils import timezone

from perfkit.bulk import bulk_upsert
from project.flights.models import ActivityDay, ActivityLog

LOG_KEPT_DAYS: Final = 90

WHOLE_DAYS: Final = LOG_KEPT_DAYS - 2
"""The log's oldest day may be half gone, and the next one by an hour where clocks were changed."""


def log_activity(user_id: int, action: str, **detail: Any) -> None:
    """Note that a user did something; called after the answer, for nobody waits for it."""
    ActivityLog.objects.create(user_id=user_id, action=action, detail=detail)


def roll_up_activity(days: int = 2) -> int:
    """Count what was done on each of the last days, and keep that; return how many counts there are.

    Counted anew each time, so it may be done at any time, any number of times.
    Where nobody did it for a while, it begins with the last day that was counted, as far back as the log goes.

    Args:
        days: That are counted at least, this one included.

    Queries:
        Three.
    """
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    last = ActivityDay.objects.aggregate(last=Max("day"))["last"]
    missed = WHOLE_DAYS if last is None else min(WHOLE_DAYS, (midnight.date() - last).days + 1)
    counted = (
        ActivityLog.objects.uncached()
        .filter(created_at__gte=midnight - dt.timedelta(days=max(days, missed) - 1))
        .annotate(day=TruncDate("created_at"))
        .values("day", "action")
        .annotate(count=Count("pk"))
        .order_by("day", "action")
    )
    return bulk_upsert(
        ActivityDay, counted, conflict_columns=["day", "action"], update_columns=["count"]
    ).rows


def activity_text(days: int = 7) -> str:
    """Return what was done in the last days, for people; empty where nothing was.

    Queries:
        One.
    """
    since = timezone.localdate() - dt.timedelta(days=days)
    rows = ActivityDay.objects.filter(day__gt=since).order_by("day", "action")
    return "\n".join(f"{row.day}  {row.action:<20}  {row.count:>7,}" for row in rows)
