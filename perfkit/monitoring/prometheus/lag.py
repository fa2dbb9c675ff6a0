"""What waits in the database, asked now and then, and never waited for long."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from django.db import Error, connections, router
from django.db.models import Count, Min
from django.utils import timezone

from perfkit.caching.locks import fork_safe_lock
from perfkit.models import Job, JobState, PendingInvalidation
from perfkit.monitoring.prometheus.families import Lag
from perfkit.monitoring.series import MOST_ALIASES

logger: Final = logging.getLogger("perfkit.monitoring")

KEPT_SECONDS: Final = 15.0
PATIENCE_SECONDS: Final = 0.5
MOST_ROWS: Final = 10_000
"""Where there are more, these are told: to count them all would take long."""


class LagReader:
    """Asks the databases at most every 15 seconds, in a thread of its own.

    So a scrape is answered though a database hangs, within an event loop, and leaves no connection behind.

    Args:
        read: Asks them.
        clock: Seconds that only grow.
    """

    def __init__(
        self, *, read: Callable[[], Lag] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read or read_lag
        self._clock = clock
        self._lock = fork_safe_lock()
        self._lag = Lag()
        self._due = float("-inf")
        self._thread: threading.Thread | None = None

    def lag(self) -> Lag:
        """Return what was found last, or what is found within half a second."""
        with self._lock:
            if self._clock() >= self._due and (self._thread is None or not self._thread.is_alive()):
                self._due = self._clock() + KEPT_SECONDS
                self._thread = threading.Thread(target=self._look, name="perfkit.monitoring.lag", daemon=True)
                self._thread.start()
            thread = self._thread
        if thread is not None:
            thread.join(PATIENCE_SECONDS)
        # Older figures of a database that does not answer now would look as if it did.
        return Lag() if thread is not None and thread.is_alive() else self._lag

    def _look(self) -> None:
        lag = Lag()
        try:
            lag = self._read()
        finally:
            self._lag = lag
            connections.close_all()


def read_lag() -> Lag:
    """Ask the databases; what one of them does not tell is left out.

    Queries: two for jobs, and one for the outbox of each database that migrations have made one in.
    """
    now = timezone.now()
    dead, overdue = _jobs(now)
    rows: dict[str, int] = {}
    ages: dict[str, float] = {}
    aliases = [alias for alias in connections if router.allow_migrate_model(alias, PendingInvalidation)]
    for alias in aliases[:MOST_ALIASES]:
        # Notices of a writer in silence stand there until it ends: they do not wait.
        waiting = PendingInvalidation.objects.using(alias).filter(holds_until=None).order_by("pk")[:MOST_ROWS]
        try:
            found = waiting.aggregate(rows=Count("pk"), oldest=Min("created_at"))
        except Error as error:
            logger.info("The outbox of %r cannot be read for Prometheus: %s", alias, error)
            continue
        rows[alias] = found["rows"]
        ages[alias] = _seconds(found["oldest"], now)
    return Lag(dead, overdue, rows, ages)


def _jobs(now: dt.datetime) -> tuple[int | None, float | None]:
    jobs = Job._base_manager.using(router.db_for_write(Job))
    try:
        dead = jobs.filter(state=JobState.DEAD)[:MOST_ROWS].count()
        oldest = jobs.filter(due_at__isnull=False).aggregate(oldest=Min("due_at"))["oldest"]
    except Error as error:
        logger.info("Jobs cannot be read for Prometheus: %s", error)
        return None, None
    return dead, _seconds(oldest, now)


def _seconds(since: dt.datetime | None, now: dt.datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
