"""A COPY that a thread does while the next rows are read and prepared.

# Note [One COPY for many chunks]

A connection can do nothing else while a COPY is open, and a chunk may need it: the caller's generator,
a callable default or a `pre_save` may query. So rows are encoded first, and a COPY begins when there are enough:
it costs the server as much to begin and end as several hundred rows.
A thread sends them, and the COPY stays open for the rows that follow, until somebody wants the connection.
psycopg holds the connection's lock from the beginning of a COPY to its end; a lock of ours stands in its place
meanwhile, and has the COPY end before it lets anybody in: the caller's own queries find the rows there.
The caller's code does not run again before the COPY has begun: a savepoint of its own would else take the rows in.
Nor does a COPY stay open for long where few rows come: the server counts that time as the statement's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Final

from perfkit.bulk.copy_buffer import CopyBuffer
from perfkit.bulk.plan import Batch
from perfkit.bulk.running import Handing

if TYPE_CHECKING:
    from psycopg import Cursor

MOST_BYTES: Final = 2**22
"""How large a COPY grows: its rows are kept to its end, for one that is refused must be found among them."""
OPEN_SECONDS: Final = 1.0


class Sending:
    """A COPY under way. See Note [One COPY for many chunks].

    It begins with `start`; whoever holds it calls `wait`, or `abandon` before anything is rolled back.

    Args:
        buffer: The rows that there are.
        cursor: psycopg's own.
        stays_open: Whether it may take rows that follow.

    Attributes:
        buffer: The rows that there are and those that it has taken.
    """

    def __init__(self, buffer: CopyBuffer, cursor: Cursor[Any], statement: str, *, stays_open: bool) -> None:
        self.buffer = buffer
        self._error: BaseException | None = None
        self._may_begin, self._has_begun, self._is_done = Event(), Event(), Event()
        self._has_news = Event()
        self._encoding = Lock()
        self._is_finished = False
        self._is_abandoned = False
        self._thread = Thread(target=self._send, args=(cursor, statement), name="perfkit-copy", daemon=True)
        if not stays_open:
            self.finish()

    @property
    def is_done(self) -> bool:
        """Whether `wait` would return at once."""
        return self._is_done.is_set()

    def start(self) -> None:
        """Let the thread begin, and return once the connection is its own, or nothing can be sent."""
        self._thread.start()
        self._may_begin.set()
        self._has_begun.wait()

    def take(self, batch: Batch) -> bool:
        """Send these rows too, if it is still open and they fill the same columns; tell whether it is so.

        Raises:
            RowDataError: A value cannot be made binary; all has to be rolled back.
        """
        with self._encoding:
            if self._is_finished or self.buffer.columns != tuple(batch.columns):
                return False
            self.buffer.add_batch(batch)
            if self.buffer.size_bytes >= MOST_BYTES:
                self._finish()
        self._has_news.set()
        return True

    def finish(self) -> None:
        """Take no more rows."""
        with self._encoding:
            self._finish()
        self._has_news.set()

    def wait(self) -> None:
        """Take no more rows, and return once it is done.

        Raises:
            psycopg.Error: The server refused the rows.
        """
        self.finish()
        self._is_done.wait()
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """Return once it is done, or will never begin; its outcome is of no account, for all is rolled back."""
        self._is_abandoned = True
        self._has_news.set()
        may_have_begun = self._may_begin.is_set()
        self._may_begin.set()
        if may_have_begun:
            self._is_done.wait()

    def _finish(self) -> None:
        if not self._is_finished:
            self.buffer.finish()
            self._is_finished = True

    def _send(self, cursor: Cursor[Any], statement: str) -> None:
        self._may_begin.wait()
        try:
            if not self._is_abandoned:
                self._copy(cursor, statement)
        except BaseException as error:  # noqa: BLE001  # raised by `wait`
            self._error = error
        finally:
            self._has_begun.set()
            self._is_done.set()

    def _copy(self, cursor: Cursor[Any], statement: str) -> None:
        driver = cursor.connection
        with cursor.copy(statement) as copy:
            own = driver.lock
            driver.lock = Handing(own, self.finish)  # type: ignore[assignment]  # acts as one
            try:
                self._has_begun.set()
                for part in self._parts():
                    copy.write(part)
            finally:
                driver.lock = own  # held until the COPY has ended

    def _parts(self) -> Iterator[bytes | bytearray]:
        """Yield the parts as they come, to the end of it; where all is rolled back, no more of them."""
        sent = 0
        until = time.monotonic() + OPEN_SECONDS
        while not self._is_abandoned:
            self._has_news.clear()
            is_last = self._is_finished  # before the parts: none follows then
            parts = self.buffer.parts[sent:]
            yield from parts
            sent += len(parts)
            if is_last:
                return
            if not self._has_news.wait(until - time.monotonic()):
                self.finish()
