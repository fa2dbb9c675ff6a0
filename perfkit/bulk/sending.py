"""A COPY that a thread does while the next rows are read and prepared.

# Note [One COPY for many chunks]

A connection can do nothing else while a COPY is open, and a chunk may need it: the caller's generator,
a callable default or a `pre_save` may query. So rows are encoded first, and a COPY begins when there are enough:
it costs the server as much to begin and end as several hundred rows.
A thread sends them, and the COPY stays open for the rows that follow, until somebody wants the connection.
psycopg holds the connection's lock from the beginning of a COPY to its end; a lock of ours stands in its place
meanwhile, and has the COPY end before it lets anybody in: the caller's own queries find the rows there.
The caller's code does not run again before the COPY has begun: a savepoint of its own would else take the rows in.
Nor does a COPY stay open for long: the server counts the time in which it waits for rows as the statement's.

Encoding may run the caller's code too, of a JSON encoder, and that may query: nothing is held meanwhile.
A part is put behind the others first, and then looked at whether it was in time: the thread says how many parts
its COPY has once it takes no more.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

from perfkit.bulk.copy_buffer import TRAILER, CopyBuffer
from perfkit.bulk.plan import Batch
from perfkit.bulk.running import Handing, stop

if TYPE_CHECKING:
    from psycopg import Cursor

MOST_BYTES: Final = 2**22
"""How large a COPY grows: its rows are kept to its end, for one that is refused must be found among them."""
OPEN_SECONDS: Final = 0.2
"""How long it takes rows that follow. To begin another costs as much as some hundred rows."""
PATIENCE_SECONDS: Final = 0.2
"""How long a COPY that is not wanted any more may take to end by itself, before the server is told to stop it."""


class AbandonedError(Exception):
    """Raised within a COPY that is not wanted any more, so that the server is told that it has failed."""


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
        self._news: SimpleQueue[None] = SimpleQueue()
        self._is_ending = not stays_open
        self._has_ended = Event()
        self._parts = 0  # how many of the buffer's there are in it, once it has ended
        self._is_abandoned = False
        self._driver = cursor.connection
        self._thread = Thread(target=self._send, args=(cursor, statement), name="perfkit-copy", daemon=True)

    @property
    def is_done(self) -> bool:
        """Whether `wait` would return at once."""
        return self._is_done.is_set()

    def start(self) -> None:
        """Let the thread begin, and return once the connection is its own, or nothing can be sent.

        Raises:
            RuntimeError: The machine has no thread for it.
        """
        try:
            self._thread.start()
            self._may_begin.set()
        except BaseException:
            self._is_abandoned = True
            self._may_begin.set()
            self._is_done.set()
            raise
        self._has_begun.wait()

    def take(self, batch: Batch) -> bool:
        """Send these rows too, if it is still open and they fill the same columns; tell whether it is so.

        Raises:
            RowDataError: A value cannot be made binary; all has to be rolled back.
        """
        if not self._is_open() or self.buffer.columns != tuple(batch.columns):
            return False
        part = self.buffer.encoded(batch)
        place = len(self.buffer.parts)
        self.buffer.parts.append(part)
        self._news.put(None)
        if not self._is_open():
            self._has_ended.wait()
            if place >= self._parts:
                self.buffer.parts.pop()
                return False
        self.buffer.note(batch, part)
        if self.buffer.size_bytes >= MOST_BYTES:
            self.finish()
        return True

    def finish(self) -> None:
        """Have it take no more rows."""
        self._is_ending = True
        self._news.put(None)

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
        may_have_begun = self._may_begin.is_set()
        self._may_begin.set()
        self.finish()
        if may_have_begun:
            while not self._is_done.wait(PATIENCE_SECONDS):
                stop(self._driver)

    def _is_open(self) -> bool:
        return not self._is_ending and not self.is_done

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
            self._has_ended.set()

    def _copy(self, cursor: Cursor[Any], statement: str) -> None:
        driver = self._driver
        with cursor.copy(statement) as copy:
            own = driver.lock
            driver.lock = Handing(own, self.finish)  # type: ignore[assignment]  # acts as one
            try:
                self._has_begun.set()
                for part in self._parts_as_they_come():
                    copy.write(part)
            finally:
                driver.lock = own  # held until the COPY has ended

    def _parts_as_they_come(self) -> Iterator[bytes | bytearray]:
        """Yield the parts of it, to its end.

        Raises:
            AbandonedError: All is rolled back.
        """
        sent, parts = 0, self.buffer.parts
        until = time.monotonic() + OPEN_SECONDS
        while not self._has_ended.is_set():
            is_last = self._is_ending  # looked at first: what `take` puts there after that is too late
            there = len(parts)
            if is_last:
                self._parts = there
                self._has_ended.set()
            for part in parts[sent:there]:
                if self._is_abandoned:
                    raise AbandonedError
                sent += 1
                yield part
            self._wait(until)
        yield TRAILER

    def _wait(self, until: float) -> None:
        """Wait for more; take no more rows from then on."""
        try:
            if not self._is_ending:
                self._news.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            self._is_ending = True
        if time.monotonic() >= until:
            self._is_ending = True
