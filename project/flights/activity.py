"""What people did on the site."""

from __future__ import annotations

from typing import Any

from project.flights.models import ActivityLog


def log_activity(user_id: int, action: str, **detail: Any) -> None:
    """Note that a user did something; called after the answer, for nobody waits for it."""
    ActivityLog.objects.create(user_id=user_id, action=action, detail=detail)
