"""Threads that fill batches, and what they do about one that another host is filling."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from django.db import DatabaseError, connections

from perfkit.caching.bypass import Bypass
from perfkit.caching.coherence import breaker
from perfkit.caching.store import StoreError
from perfkit.caching.warming.batches import Batch, Filled, Manner
from perfkit.caching.warming.sharing import filled_after_others, filled_alone, filled_anyway
from perfkit.conf import options

MOST_LEFT: Final = 64
"""Batches that are left to others for now; with more, the first of them is waited for."""

TRIES: Final = 4
"""Of a batch, where the cache server does not answer."""

PASSING: Final = frozenset({"outage", "outbox"})
"""Why the cache may not be filled at this moment: nobody is to ask the server, or another thread asks."""

Done = Callable[[int, Filled], None]


class Crew:
    """Fills batches in the calling thread, or in several others.

    Attributes:
        problem: Why it stopped before everything was filled, empty where it did not.

    Args:
        jobs: Threads; the calling one where it is 1.
        done: Told how large each batch was and what came of it, by one thread at a time.
    """

    def __init__(self, jobs: int, manner: Manner, done: Done) -> None:
        self.problem = ""
        self._jobs = jobs
        self._manner = manner
        self._done = done
        self._lock = threading.Lock()
        self._left: deque[Batch] = deque()
        self._ended: BaseException | None = None

    def work(self, batches: Iterable[Batch]) -> None:
        """Fill all batches, or as many as can be.

        What others are filling is looked at again at the end, and filled where they have not.

        Raises:
            Whatever is raised by `batches`, by `done`, or is among what the run stops on; all threads have ended.
        """
        if self._jobs == 1:
            for batch in batches:
                self._attempt(batch)
                if self.is_stopped():
                    return
            self._finish()
        else:
            self._share_out(batches)

    def is_stopped(self) -> bool:
        """Say whether no more is to be filled."""
        return bool(self.problem) or self._ended is not None

    def _share_out(self, batches: Iterable[Batch]) -> None:
        waiting: queue.Queue[Batch | None] = queue.Queue(maxsize=self._jobs)
        threads = [
            threading.Thread(
                target=self._serve, args=(waiting,), name=f"perfkit-warming-{number}", daemon=True
            )
            for number in range(self._jobs)
        ]
        for thread in threads:
            thread.start()
        try:
            for batch in batches:
                waiting.put(batch)
                if self.is_stopped():
                    break
        except BaseException as error:
            self._ended = error
            raise
        finally:
            for _ in threads:
                waiting.put(None)
            for thread in threads:
                thread.join()
        if self._ended is not None:
            raise self._ended

    def _serve(self, waiting: queue.Queue[Batch | None]) -> None:
        """Fill what is waiting until there is no more; what comes after a failure is only taken away."""
        try:
            while (batch := waiting.get()) is not None:
                self._guarded(self._attempt, batch)
            self._guarded(self._finish)
        finally:
            connections.close_all()

    def _guarded(self, work: Callable[..., None], *args: Batch) -> None:
        try:
            if not self.is_stopped():
                work(*args)
        except BaseException as error:  # noqa: BLE001  # raised by the calling thread, once all have ended
            self._ended = error

    def _attempt(self, batch: Batch) -> None:
        self._fill(batch, lambda: filled_alone(batch, self._manner))
        with self._lock:
            first = self._left.popleft() if len(self._left) > MOST_LEFT else None
        if first is not None:
            self._fill_after_others(first)

    def _finish(self) -> None:
        while not self.is_stopped():
            with self._lock:
                if not self._left:
                    return
                batch = self._left.popleft()
            self._fill_after_others(batch)

    def _fill_after_others(self, batch: Batch) -> None:
        self._fill(batch, lambda: filled_after_others(batch, self._manner, self.is_stopped))

    def _fill(self, batch: Batch, fill: Callable[[], Filled | None]) -> None:
        try:
            filled = self._patiently(batch, fill)
        except Bypass as bypass:
            self.problem = self.problem or f"the cache cannot be filled: {bypass}"
        except StoreError as error:
            self.problem = self.problem or f"the cache server does not answer: {error}"
        except DatabaseError as error:
            self.problem = self.problem or f"its rows cannot be read: {error}"
        else:
            with self._lock:
                if filled is None:
                    self._left.append(batch)
                else:
                    self._done(batch.size, filled)

    def _patiently(self, batch: Batch, fill: Callable[[], Filled | None]) -> Filled | None:
        """Fill a batch, once more where the server does not answer or is not to be trusted at this moment.

        Nobody knows then who holds the lease: the batch is filled whoever does.
        """
        for tries_left in reversed(range(TRIES)):
            try:
                return fill() if tries_left == TRIES - 1 else filled_anyway(batch, self._manner)
            except StoreError as error:
                breaker.failed(str(error))
                if not tries_left or self.is_stopped():
                    raise
            except Bypass as bypass:
                if str(bypass) not in PASSING or not tries_left or self.is_stopped():
                    raise
            time.sleep(options.CACHE_RETRY_AFTER)
        raise AssertionError("the last try returns or raises")
