"""The status of a task as server-sent events: what changes is told, until the task is done.

# Note [Why the stream asks once a second]

Celery's Redis back end also publishes what it stores, and a stream could wait for that.
It would need a connection to Redis for each stream, or one in each process that knows all streams, and back ends
that are databases publish nothing. One GET a second and stream is little for a server, and people read no faster.
So any reader of statuses will do, and nothing is left open between two questions.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from asgiref.sync import sync_to_async
from django.db import connections

from perfkit.errors import UnavailableError

logger = logging.getLogger("perfkit.api")

ENDED: Final = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
"""States that no other follows."""


@dataclass(frozen=True, slots=True)
class StreamTimes:
    """The times of a stream, in seconds.

    Attributes:
        ask_every: Between two looks at the status.
        heartbeat: A comment is sent where nothing else was for so long; a client that is gone is noticed by it.
        longest: A stream ends after that, and the client comes back with the last id that it saw.
        retry: How long the client waits before it comes back.
    """

    ask_every: float = 1.0
    heartbeat: float = 15.0
    longest: float = 300.0
    retry: float = 3.0


@dataclass(slots=True)
class Told:
    """What one client has seen of one task; decides what to send. Pure.

    Args:
        times: Those of the stream.
        last_id: Of the event that the client saw last; what it has is not sent again.
        now: The moment of the beginning.
    """

    times: StreamTimes
    last_id: str
    now: float
    is_over: bool = False
    _ends_at: float = field(init=False)
    _sent_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._ends_at = self.now + self.times.longest
        self._sent_at = self.now

    def opening(self) -> bytes:
        """Return what comes first: how long to wait before coming back."""
        return f"retry: {int(self.times.retry * 1000)}\n\n".encode()

    def part(self, state: str, data: str, *, now: float) -> bytes:
        """Return what is to be sent of the status; nothing where there is nothing new.

        Args:
            data: The whole status as JSON, in one line.
        """
        text = b""
        number = event_id(data)
        if number != self.last_id:
            self.last_id = number
            text = f"id: {number}\nevent: status\ndata: {data}\n\n".encode()
        elif now - self._sent_at >= self.times.heartbeat:
            text = b": still running\n\n"
        if state in ENDED:
            self.is_over = True
            # An event without data is none to a browser.
            text += f"event: end\ndata: {state}\n\n".encode()
        elif now >= self._ends_at:
            self.is_over = True
        if text:
            self._sent_at = now
        return text


def event_id(data: str) -> str:
    """Return the id of the event that tells `data`; the same in every process.

    Example:
        >>> event_id("{}")
        '44136fa355b3678a'
    """
    return hashlib.sha256(data.encode()).hexdigest()[:16]


class Places:
    """How many streams a process has open, and may have."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take a place; tell whether there was one."""
        with self._lock:
            if self.taken >= self.most:
                return False
            self.taken += 1
            return True

    def leave(self) -> None:
        """Give the place back."""
        with self._lock:
            self.taken -= 1


class Stream:
    """The parts of one stream, for a server of threads or for one of an event loop; its place is left at its end.

    Args:
        look: Returns the state and the whole status as JSON; an UnavailableError of its own ends the stream.
        told: What the client has seen.
        places: Where a place was taken for it.
    """

    def __init__(self, look: Callable[[], tuple[str, str]], told: Told, places: Places) -> None:
        self._look = look
        self._told = told
        self._places: Places | None = places

    def __iter__(self) -> Iterator[bytes]:
        try:
            _return_connections()
            yield self._told.opening()
            while not self._told.is_over:
                if part := self._part():
                    yield part
                if not self._told.is_over:
                    time.sleep(self._told.times.ask_every)
        finally:
            self.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            await sync_to_async(_return_connections)()
            yield self._told.opening()
            while not self._told.is_over:
                if part := await sync_to_async(self._part, thread_sensitive=False)():
                    yield part
                if not self._told.is_over:
                    await asyncio.sleep(self._told.times.ask_every)
        finally:
            self.close()

    def close(self) -> None:
        """Give the place back, once; the server calls this too, for a stream that never began has no end."""
        places, self._places = self._places, None
        if places is not None:
            places.leave()

    def _part(self) -> bytes:
        try:
            state, data = self._look()
        except UnavailableError as error:
            # The client comes back by itself, and is answered with a 503 then if nothing has changed.
            logger.warning("A stream of a task's status ended: %s", error)
            self._told.is_over = True
            return b""
        finally:
            _return_connections()  # those of the thread that has looked
        return self._told.part(state, data, now=time.monotonic())


def _return_connections() -> None:
    """Close this thread's database connections, which would else be kept from others for minutes."""
    for each in connections.all(initialized_only=True):
        if not each.in_atomic_block:
            each.close()
