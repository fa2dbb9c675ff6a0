"""Sends again what was not taken in time, what is to begin now, and what has lost its worker.

Each worker has a thread for it; they share the work by locks that are not waited for.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from django.db import Error, connections

from perfkit.jobs.enqueueing import send
from perfkit.jobs.rows import JobRows

logger = logging.getLogger("perfkit.jobs")

LOOK_EVERY_SECONDS: Final = 1.0
MOST_AT_ONCE: Final = 500


def send_due(using: str | None = None) -> int:
    """Send the jobs that are due, and return how many there were.

    Queries:
        One for 500 jobs.
    """
    rows = JobRows(using)
    number = 0
    while due := rows.claim_due(most=MOST_AT_ONCE):
        number += len(due)
        sent = send((job.id, job.name, job.queue) for job in due)
        if len(due) < MOST_AT_ONCE or sent < len(due):
            break
    return number


class Recovery:
    """The thread of a process that looks for what is due."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look, if it does not yet."""
        if self._thread is None:
            self._over.clear()
            self._thread = threading.Thread(target=self.look, name="perfkit-job-recovery", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Have it look no more; wait for the thread, if there is one."""
        self._over.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=10)

    def look(self) -> None:
        """Look for what is due until somebody stops it, in this thread."""
        is_down = False
        while not self._over.wait(LOOK_EVERY_SECONDS):
            try:
                send_due()
            except Error as error:
                if not is_down:
                    logger.warning("Due jobs cannot be looked for: %s", type(error).__name__)
                is_down = True
                connections.close_all()
            else:
                is_down = False
        connections.close_all()
