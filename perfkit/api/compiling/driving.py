"""Drives the steps of an answer: in a thread, or with the waiting on the event loop; see Note [Steps].

# Note [Where a statement runs]
Django's own code (building SQL, converting values, writing text) runs in the request's thread, where it may ask
its connection anything. A statement leaves it for the async pool only where nothing tells the two apart: the
thread's connection sees what all others see, and nobody wants to see what runs on it. Everything else runs in the
thread, as it does without a pool.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from asgiref.sync import AsyncToSync, sync_to_async
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet
from django.db.utils import NotSupportedError

from perfkit.api.compiling.fetching import Row, Steps, answers_the_same, fetched
from perfkit.api.compiling.statements import Asked
from perfkit.caching.recorder import current_recorder
from perfkit.caching.writes import tracker_of
from perfkit.conf import options
from perfkit.loading.guard.current import is_watching
from perfkit.postgres.async_pools import async_connection, is_poolable
from perfkit.signals import NOBODYS, Doing, query_timed, work
from perfkit.watching import is_perfkits

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finished(Generic[T]):
    """What the steps came to."""

    answer: T


def finished(steps: Steps[T], shown: Any = None) -> T:
    """Return what the steps come to; each statement runs on the connection of this thread.

    Args:
        shown: The queryset whose rows are shown, where `work` is to be told of it.
    """
    with _begun(shown) as doing:
        answer = _finished(steps)
        if answer is None:
            doing.tell(is_compiled=False)
        return answer


def _begun(shown: Any) -> Doing:
    return work.begin("list", shown.model) if isinstance(shown, QuerySet) else NOBODYS


def _finished(steps: Steps[T]) -> T:
    rows: Any = None  # a generator that has not begun is sent nothing
    while True:
        try:
            fetch = steps.send(rows)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # what the generator returns
        rows = fetched(fetch)


async def afinished(steps: Steps[T], shown: Any = None) -> T:
    """Return what the steps come to; the async twin of `finished`.

    See Note [Where a statement runs]. Where the task is cancelled, so is the statement, by the server.

    Raises:
        PoolBusyError: No connection was free in time.
    """
    with _begun(shown) as doing:
        answer = await _afinished(steps)
        if answer is None:
            doing.tell(is_compiled=False)
        return answer


async def _afinished(steps: Steps[T]) -> T:
    # A loop that async_to_sync has made ends with the call: connections would not outlive the request.
    if not options.ASYNC_POOL_SIZE or asyncio.get_running_loop() in AsyncToSync.loop_thread_executors:
        return await sync_to_async(_finished)(steps)
    advance = sync_to_async(_advanced)
    rows: Any = None
    while True:
        step = await advance(steps, rows)
        if isinstance(step, Finished):
            return step.answer
        rows = await _pooled(step)


def _advanced(steps: Steps[T], rows: Any) -> Asked | Finished[T]:
    """Go on until a statement is for the pool, or there is none any more."""
    try:
        fetch = steps.send(rows)
        while not _is_for_pool(fetch):
            fetch = steps.send(fetched(fetch))
    except StopIteration as end:
        return Finished(end.value)
    return fetch


def _is_for_pool(asked: Asked) -> bool:
    """Tell whether a statement may leave this thread; see Note [Where a statement runs]."""
    connection = connections[asked.alias]
    return (
        is_poolable(connection)
        and answers_the_same(asked, connection)
        and _sees_what_all_see(connection)
        and not _is_looked_at(connection)
    )


def _sees_what_all_see(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether the connection is outside of transactions, and its session as others."""
    tracker = tracker_of(connection)
    if tracker is not None:
        return tracker.visibility.is_common
    return connection.connection is None and bool(connection.settings_dict["AUTOCOMMIT"])


def _is_looked_at(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether somebody wants to see what runs on this connection."""
    if is_watching() or current_recorder() is not None:
        return True
    return any(not is_perfkits(wrapper) for wrapper in connection.execute_wrappers)


async def _pooled(asked: Asked) -> list[Row]:
    """Return the rows of a statement, read by a connection of the pool.

    Queries: one.
    """
    wrapper = connections[asked.alias]  # of the loop's thread; it is not connected, only asked what it is
    with wrapper.wrap_database_errors:
        async with async_connection(asked.alias) as driver:
            begun = perf_counter()
            has_failed = True
            try:
                rows = await _rows(asked, driver, wrapper)
                has_failed = False
                return rows
            finally:
                seconds = perf_counter() - begun
                query_timed.send(
                    None,
                    using=asked.alias,
                    sql=asked.sql,
                    seconds=seconds,
                    values=asked.values,
                    has_failed=has_failed,
                )


async def _rows(asked: Asked, driver: psycopg.AsyncConnection[Any], wrapper: Any) -> list[Row]:
    """Return the rows, also where a column has got another type since the statement was prepared."""
    is_binary = asked.statement.is_binary
    try:
        with wrapper.wrap_database_errors:
            cursor = driver.cursor(binary=is_binary)
            await cursor.execute(asked.sql, asked.values, prepare=True)
            return await cursor.fetchall()
    except NotSupportedError:
        if driver.closed:
            raise
        driver._prepared.clear()  # noqa: SLF001  # psycopg has no public name for it
        cursor = driver.cursor(binary=is_binary)
        await cursor.execute(asked.sql, asked.values, prepare=False)
        return await cursor.fetchall()
