"""A thread that renews the leases of the jobs that this process runs, and tells how far they are.

It has a connection of its own, so a transaction of the job does not hide what it writes.
Where the database does not take it, the job goes on: its lease may end, and then its effect is rolled back.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from django.db import Error, connections

from perfkit.jobs.rows import JobRows, Mark
from perfkit.jobs.runs import JobRun

logger = logging.getLogger("perfkit.jobs")

LOOK_EVERY_SECONDS: Final = 0.5
RENEWALS_IN_A_LEASE: Final = 3
LONGEST_BETWEEN_SECONDS: Final = 3.0
"""Between two renewals, which are also what finds out that a job was cancelled."""

IDLE_SECONDS: Final = 60
"""A process without jobs for so long ends the thread; its connection is closed when nothing runs."""


@dataclass(slots=True)
class _Kept:
    run: JobRun
    rows: JobRows
    renew_at: float
    told: Mark


class Beats:
    """Keeps the leases of a process."""

    def __init__(self) -> None:
        self._begin_anew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[int, _Kept] = {}
        self._thread: threading.Thread | None = None
        self._is_over = threading.Event()
        self._last_at = 0.0

    @contextmanager
    def keeping(self, run: JobRun, rows: JobRows) -> Iterator[None]:
        """Renew the lease of a run within the block."""
        number = id(run)
        now = time.monotonic()
        kept = _Kept(run, rows, now + _pause(run), run.mark)
        with self._lock:
            self._kept[number] = kept
            self._last_at = now
            if self._thread is None or not self._thread.is_alive():
                self._is_over = threading.Event()
                self._thread = threading.Thread(
                    target=self._beat, args=(self._is_over,), name="perfkit-jobs", daemon=True
                )
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._kept[number]

    def end(self) -> None:
        """End the thread and its connection; it begins anew with the next job."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._is_over.set()
        if thread is not None:
            thread.join()

    def _beat(self, is_over: threading.Event) -> None:
        try:
            while not is_over.wait(LOOK_EVERY_SECONDS):
                now = time.monotonic()
                with self._lock:
                    if not self._kept and now - self._last_at > IDLE_SECONDS:
                        if self._is_over is is_over:
                            self._thread = None
                        return
                    runs = list(self._kept.values())
                for kept in runs:
                    if kept.renew_at <= now or kept.told != kept.run.mark:
                        _renew(kept, now)
                if not runs:
                    connections.close_all()
        finally:
            connections.close_all()


def _renew(kept: _Kept, now: float) -> None:
    run, mark = kept.run, kept.run.mark
    try:
        is_cancel_wanted = kept.rows.renew(run.id, run.fence, mark=mark)
    except Error as error:
        logger.warning("The lease of job %s could not be renewed: %s", run.id, type(error).__name__)
        connections[kept.rows.using].close()
        return
    except Exception:
        logger.exception("The lease of job %s could not be renewed", run.id)
        return
    kept.told, kept.renew_at = mark, now + _pause(run)
    if is_cancel_wanted is None:
        run.tell_lost()
    elif is_cancel_wanted:
        run.tell_cancelled()


def _pause(run: JobRun) -> float:
    return min(run.lease_seconds / RENEWALS_IN_A_LEASE, LONGEST_BETWEEN_SECONDS)


beats: Final = Beats()
"""Those of this process."""
