"""The async twins: the same work in Django's thread for the database, fed from any iterable, async ones too.

# Note [Rows from the event loop]

An async iterable is read from the thread, a chunk at a time, by asking the event loop for the next rows.
So its rows are made while the transaction is open, and never all at once.
Where the task is cancelled the thread learns it at its next chunk, and all is rolled back.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sized
from functools import update_wrapper
from threading import Event
from typing import Any, Concatenate, ParamSpec, TypeVar

from asgiref.sync import async_to_sync, sync_to_async
from django.db import models

from perfkit.bulk.copy_out import bulk_copy_out
from perfkit.bulk.delete import bulk_delete
from perfkit.bulk.insert import bulk_insert
from perfkit.bulk.update import bulk_update
from perfkit.bulk.upsert import bulk_upsert

P = ParamSpec("P")
R = TypeVar("R")

ROWS_AT_ONCE = 500
"""How many rows the thread asks the event loop for."""


class CancelledInThreadError(Exception):
    """Ends the work of a task that was cancelled, whose waiter has gone; raised and seen in the thread alone."""


def _twin(
    function: Callable[Concatenate[Any, Any, P], R],
) -> Callable[Concatenate[Any, Any, P], Awaitable[R]]:
    async def twin(first: Any, rows: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        is_cancelled = Event()
        source = rows
        if isinstance(rows, models.QuerySet) or hasattr(rows, "write"):
            pass  # read by the thread, or a file that is written
        elif isinstance(rows, AsyncIterable):
            source = _from_event_loop(aiter(rows), is_cancelled)
        elif isinstance(rows, Iterable):
            watched = WatchedSized if isinstance(rows, Sized) else Watched
            source = watched(rows, is_cancelled)
        try:
            return await sync_to_async(function)(first, source, *args, **kwargs)
        finally:
            is_cancelled.set()

    update_wrapper(twin, function)
    twin.__name__ = f"a{function.__name__}"
    twin.__qualname__ = twin.__name__
    twin.__doc__ = (
        f"Do in Django's thread what `{function.__name__}` does; rows may come from an async iterable too.\n\n"
        "See there for the arguments, what is returned and what is raised. `progress` is called in that thread.\n"
        "Where the task is cancelled everything is rolled back, at the latest with the next chunk."
    )
    return twin


def _from_event_loop(rows: AsyncIterator[Any], is_cancelled: Event) -> Iterator[Any]:
    """Yield, in the thread, what the event loop makes. See Note [Rows from the event loop]."""

    async def take() -> list[Any]:
        taken = []
        async for row in rows:
            taken.append(row)
            if len(taken) == ROWS_AT_ONCE:
                break
        return taken

    while taken := async_to_sync(take)():
        if is_cancelled.is_set():
            raise CancelledInThreadError
        yield from taken


class Watched:
    """Rows that end with an error once nobody waits for them."""

    def __init__(self, rows: Iterable[Any], is_cancelled: Event) -> None:
        self.rows = rows
        self._is_cancelled = is_cancelled

    def __iter__(self) -> Iterator[Any]:
        for row in self.rows:
            if self._is_cancelled.is_set():
                raise CancelledInThreadError
            yield row


class WatchedSized(Watched):
    """The same, of a known number."""

    def __len__(self) -> int:
        assert isinstance(self.rows, Sized)  # noqa: S101  # `_twin` has looked
        return len(self.rows)


abulk_insert = _twin(bulk_insert)
abulk_update = _twin(bulk_update)
abulk_upsert = _twin(bulk_upsert)
abulk_delete = _twin(bulk_delete)
abulk_copy_out = _twin(bulk_copy_out)
