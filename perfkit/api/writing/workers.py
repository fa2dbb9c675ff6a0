"""The threads of a process that do work after the answer."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Final

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.db import connections

from perfkit.caching import token_scope
from perfkit.caching.counting import work_ended
from perfkit.loading import identity_map, watch_n_plus_one
from perfkit.tracing.origins import Origin, current, entered

logger = logging.getLogger("perfkit.api")

THREADS: Final = 4
MOST_WAITING: Final = 1000
"""Pieces of work that wait for a thread; what comes then is done by who brings it."""


class Workers:
    """A few threads, begun with the first work, that begin what they are given in the order in which it came.

    At the end of the process Python waits until all that was taken is done.
    A process that is killed, or forked while work waits in its parent, does none of it.
    Each piece of work has the id of the request that brings it.
    It is a scope of cached reads, a map of instances and a watch of the N+1 guard, as a task is,
    and the database connections that it opened are closed after it.
    """

    def __init__(self, *, threads: int = THREADS, most_waiting: int = MOST_WAITING) -> None:
        self._threads = threads
        self._places = threading.BoundedSemaphore(threads + most_waiting)
        self._size = threads + most_waiting
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_anew)

    def take(self, work: Callable[[], Any]) -> None:
        """Have a thread do `work`; do it here, where too much waits already or the process is about to end."""
        if not self._places.acquire(blocking=False):
            _do(work)
            return
        try:
            self._started().submit(self._do_and_leave, work, current.get())
        except RuntimeError:  # Python takes no more work, for it is about to end
            self._places.release()
            _do(work)

    def drain(self) -> None:
        """Wait until all that was taken is done; threads begin anew with the next work."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)

    def _started(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="perfkit-after-response")
            return self._pool

    def _do_and_leave(self, work: Callable[[], Any], origin: Origin | None) -> None:
        try:
            with entered(origin):
                _do(work)
            connections.close_all()
        finally:
            self._places.release()

    def _begin_anew(self) -> None:
        self._places = threading.BoundedSemaphore(self._size)
        self._lock = threading.Lock()
        self._pool = None


def name_of(work: Callable[[], Any]) -> str:
    """Return what the work is called, without what it is called with: that may be secret."""
    function = getattr(work, "func", work)
    task = getattr(function, "__self__", None)
    return str(getattr(task, "name", "") or getattr(function, "__qualname__", type(function).__name__))


def _do(work: Callable[[], Any]) -> None:
    """Do it; nobody is there who could be told of an error, so that is logged."""
    try:
        with ExitStack() as scopes:
            for scope in (token_scope, identity_map, watch_n_plus_one):
                scopes.enter_context(scope())
            if iscoroutinefunction(getattr(work, "func", work)):
                async_to_sync(work)()
            else:
                work()
    except Exception:
        logger.exception("Work after a response failed: %s", name_of(work))
    finally:
        work_ended()


workers: Final = Workers()
"""Those of this process."""
