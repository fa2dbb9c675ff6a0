"""Event loops with an async pool, as a server has one, and what is told of its statements."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import connection, connections

from perfkit.signals import query_timed
from project import services

T = TypeVar("T")


def on_a_loop(make: Callable[[], Awaitable[T]]) -> T:
    """Run what a request does on a loop of its own, with a thread of its own, and close its connections."""

    async def run() -> T:
        async with ThreadSensitiveContext():
            try:
                return await make()
            finally:
                await sync_to_async(connections.close_all)()

    return asyncio.run(run())


@contextmanager
def pooled_statements() -> Iterator[list[str]]:
    """Collect the statements that went by the pool."""
    found: list[str] = []

    def note(sql: str, **_: Any) -> None:
        found.append(sql)

    query_timed.connect(note)
    try:
        yield found
    finally:
        query_timed.disconnect(note)


@contextmanager
def direct() -> Iterator[psycopg.Connection[Any]]:
    """A connection that has nothing to do with the project's."""
    name = str(connection.settings_dict["NAME"])
    with psycopg.connect(services.database_url(), dbname=name, autocommit=True) as direct:
        yield direct


@contextmanager
def locked(table: str) -> Iterator[None]:
    """Let nobody read a table meanwhile: who does waits."""
    with direct() as other, other.transaction():
        other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


def sessions(condition: str) -> int:
    """Return how many other sessions of this database are in a state."""
    with direct() as other:
        row = other.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            f"AND pid <> pg_backend_pid() AND ({condition})"
        ).fetchone()
    assert row is not None
    return int(row[0])


def waiting() -> int:
    """Return how many sessions wait for a lock."""
    return sessions("wait_event_type = 'Lock'")


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def in_thread(function: Callable[[], object]) -> None:
    """Run a function in a thread that has nothing to do with the loop's."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()
