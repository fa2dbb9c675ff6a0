"""The checks of Celery's broker and workers, asked for by name, as `perfkit.tasks` alone speaks Celery."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from django.conf import settings
from django.utils.module_loading import import_string

from perfkit.monitoring.health.registry import Found, health_check

NONE = "Celery is not configured"


@health_check("broker")
def check_broker() -> Found:
    """Connect to the broker."""
    return _asked("check_broker")


@health_check("workers")
def check_workers() -> Found:
    """Ask workers which queues they take from; where one has nobody, most of the time that a probe may take."""
    return _asked("check_workers")


def _asked(name: str) -> Found:
    # An app has loaded the class of apps; without one, only settings can tell that there should be one.
    is_used = "celery.app.base" in sys.modules or bool(getattr(settings, "CELERY_BROKER_URL", None))
    if not is_used or find_spec("celery") is None:
        return NONE
    found: Found = import_string(f"perfkit.tasks.health.{name}")()
    return found
