"""Sends again what was not taken in time, what is to begin now, and what has lost its worker.

Each worker has a thread for it; they share the work by locks that are not waited for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from django.db import Error, connections

from perfkit.jobs.enqueueing import send
from perfkit.jobs.rows import JobRows

logger = logging.getLogger("perfkit.jobs")

LOOK_EVERY_SECONDS: Final = 1.0
ALSO_EVERY_LOOKS: Final = 15
MOST_AT_ONCE: Final = 500


def send_due(using: str | None = None) -> int:
    """Send the jobs that are due, and return how many could be sent; others are due again in a few seconds.

    Queries:
        One for 500 jobs, and one more for those that could not be sent.
    """
    rows = JobRows(using)
    number = 0
    while due := rows.claim_due(most=MOST_AT_ONCE):
        unsent = send((job.id, job.name, job.queue) for job in due)
        rows.give_back(unsent)
        number += len(due) - len(unsent)
        if len(due) < MOST_AT_ONCE or unsent:
            break
    return number


class Recovery:
    """The thread of a process that looks for what is due.

    Args:
        also: Called at times as well, such as to ask schedules whose beat is lost.
    """

    def __init__(self, *, also: Callable[[], object] | None = None) -> None:
        self._also = also
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
        looks = 0
        is_down = False
        while not self._over.wait(LOOK_EVERY_SECONDS):
            looks += 1
            try:
                send_due()
                if self._also is not None and looks % ALSO_EVERY_LOOKS == 0:
                    self._also()
            except Error as error:
                if not is_down:
                    logger.warning("Due jobs cannot be looked for: %s", type(error).__name__)
                is_down = True
                connections.close_all()
            except Exception:
                logger.exception("Due jobs could not be looked for, and will be again")
                connections.close_all()
            else:
                is_down = False
        connections.close_all()
