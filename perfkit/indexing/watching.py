"""Watches a concurrent build from a second connection: shows how far it is, and ends its wait behind a pooler."""

from __future__ import annotations

import logging
import sys
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.indexing.steps import Patience

logger = logging.getLogger("perfkit.indexing")

EVERY_SECONDS: Final = 0.25

PROGRESS_SQL: Final = """
SELECT coalesce(i.relname, t.relname), p.command, p.phase, p.blocks_done, p.blocks_total,
       p.tuples_done, p.tuples_total, p.lockers_done, p.lockers_total, nullif(p.current_locker_pid, 0)
FROM pg_stat_progress_create_index p
LEFT JOIN pg_class i ON i.oid = p.index_relid
LEFT JOIN pg_class t ON t.oid = p.relid
WHERE p.datname = current_database()
  AND p.pid IN (SELECT pid FROM pg_stat_activity WHERE pid = %s OR (%s <> '' AND starts_with(query, %s)))
"""

# In one statement, so that hardly a moment lies between the look and the signal.
CANCEL_SQL: Final = """
SELECT pg_cancel_backend(a.pid)
FROM pg_stat_activity a
WHERE starts_with(a.query, %s) AND a.state = 'active'
  AND EXISTS (
      SELECT FROM pg_locks l
      WHERE l.pid = a.pid AND NOT l.granted AND l.waitstart < clock_timestamp() - %s * interval '1 second'
  )
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is, as PostgreSQL says.

    Source:
        PostgreSQL manual, "CREATE INDEX Progress Reporting".
    """

    name: str
    command: str
    phase: str
    blocks_done: int
    blocks_total: int
    tuples_done: int
    tuples_total: int
    lockers_done: int
    lockers_total: int
    locker_pid: int | None

    def __str__(self) -> str:
        text = f"{self.name}: {self.phase}"
        if self.phase.startswith("waiting") and self.lockers_total:
            whom = f", at process {self.locker_pid}" if self.locker_pid else ""
            return f"{text} ({self.lockers_done} of {self.lockers_total}{whom})"
        for done, total in ((self.blocks_done, self.blocks_total), (self.tuples_done, self.tuples_total)):
            if total:
                return f"{text}, {min(done / total, 1):.0%}"
        return text


class Watch:
    """Watches the statement that is run inside its `with` block, from a thread with a connection of its own.

    It is no more than a help: where it cannot connect, the statement goes on without it.
    Where nobody looks and no pooler is in between, there is no thread.
    """

    def __init__(self, connection: BaseDatabaseWrapper, patience: Patience, *, is_pooled: bool) -> None:
        self._connection = connection
        self._patience = patience
        self._is_shown = sys.stderr.isatty()
        self._mark = f"/* perfkit {uuid4().hex} */" if is_pooled else ""
        self._pid = None if is_pooled else connection.connection.info.backend_pid
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None
        self.has_cancelled = False

    def marked(self, sql: str) -> str:
        """Return the statement as it is found again among those of others, behind a pooler."""
        return f"{self._mark} {sql}" if self._mark else sql

    def __enter__(self) -> Self:
        if self._is_shown or self._mark:
            self._thread = threading.Thread(target=self._watch, name="perfkit-index-watch", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        second = self._connection.copy()
        width = 0
        try:
            while not self._is_over.wait(EVERY_SECONDS):
                if self._mark:
                    self._end_long_wait(second)
                if self._is_shown:
                    width = self._show(second, width)
        except DatabaseError as error:
            logger.warning("An index is built unwatched: %s", str(error).partition("\n")[0])
        finally:
            second.close()
            if width:
                sys.stderr.write(f"\r{' ' * width}\r")
                sys.stderr.flush()

    def _end_long_wait(self, second: BaseDatabaseWrapper) -> None:
        rows = _rows(second, CANCEL_SQL, [self._mark, self._patience.lock_timeout_seconds])
        self.has_cancelled = self.has_cancelled or any(is_sent for (is_sent,) in rows)

    def _show(self, second: BaseDatabaseWrapper, width: int) -> int:
        """Write one line over the last one; return how wide the line is now."""
        for row in _rows(second, PROGRESS_SQL, [self._pid, self._mark, self._mark]):
            line = str(Progress(*row))
            sys.stderr.write(f"\r{line.ljust(width)}")
            sys.stderr.flush()
            width = len(line)
        return width


def _rows(connection: BaseDatabaseWrapper, sql: str, params: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
