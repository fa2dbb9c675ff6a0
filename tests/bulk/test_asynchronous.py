"""The async twins: rows from the event loop, in constant memory, and nothing left where the task is cancelled."""

from __future__ import annotations

import asyncio
import inspect
import io
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import wraps
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from perfkit import bulk
from perfkit.bulk import (
    RowDataError,
    abulk_copy_out,
    abulk_delete,
    abulk_insert,
    abulk_update,
    abulk_upsert,
)
from perfkit.bulk.asynchronous import ROWS_AT_ONCE
from tests.testapp.bulk import Country, Stock

pytestmark = pytest.mark.django_db(transaction=True)
TWINS = ("insert", "update", "upsert", "delete", "copy_out")


def in_event_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in an event loop, and what it leaves to Django's thread in this one."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async_to_sync(test)(*args, **kwargs)

    return run


async def stocks(count: int) -> AsyncIterator[dict[str, Any]]:
    for number in range(count):
        if number % 100 == 0:
            await asyncio.sleep(0)
        yield {"shop": "A", "sku": number}


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_is_called_as_its_sister(name: str) -> None:
    twin, sister = getattr(bulk, f"abulk_{name}"), getattr(bulk, f"bulk_{name}")
    assert twin.__name__ == f"abulk_{name}"
    assert inspect.signature(twin) == inspect.signature(sister)
    assert inspect.iscoroutinefunction(twin)
    assert f"`bulk_{name}`" in twin.__doc__


@in_event_loop
async def test_rows_come_from_an_async_generator() -> None:
    threads: set[str] = set()
    result = await abulk_insert(
        Stock,
        stocks(1_234),
        chunk_rows=100,
        progress=lambda _rows: threads.add(threading.current_thread().name),
    )
    assert (result.rows, await Stock.objects.acount()) == (1_234, 1_234)
    assert threading.current_thread().name not in threads


@in_event_loop
async def test_the_others_too() -> None:
    await abulk_insert(Stock, [{"shop": "A", "sku": number} for number in range(3)])
    keys = [pk async for pk in Stock.objects.order_by("pk").values_list("pk", flat=True)]

    async def changes() -> AsyncIterator[Any]:
        for pk in keys:
            yield pk, {"amount": 1}

    assert (await abulk_update(Stock, changes())).updated == 3
    result = await abulk_upsert(Stock, stocks(5), conflict_columns=["shop", "sku"], return_rows=True)
    assert (result.created, result.untouched) == (2, 3)
    file = io.BytesIO()
    assert (await abulk_copy_out(Stock.objects.order_by("sku"), file, fields=["sku"])).rows == 5
    assert file.getvalue() == b"sku\n0\n1\n2\n3\n4\n"

    async def some() -> AsyncIterator[int]:
        for pk in keys[:2]:
            yield pk

    assert (await abulk_delete(Stock, some())).rows == 2
    assert (await abulk_delete(Stock, Stock.objects.all())).rows == 3


@in_event_loop
async def test_rows_are_asked_for_as_they_are_written() -> None:
    made = 0
    ahead: list[int] = []

    async def rows() -> AsyncIterator[dict[str, Any]]:
        nonlocal made
        async for row in stocks(5_000):
            made += 1
            yield row

    await abulk_insert(Stock, rows(), chunk_rows=100, progress=lambda written: ahead.append(made - written))
    assert max(ahead) <= ROWS_AT_ONCE


@in_event_loop
async def test_errors_come_through_and_nothing_is_written() -> None:
    async def rows() -> AsyncIterator[dict[str, Any]]:
        yield {"shop": "A", "sku": 1}
        yield {"shop": "A", "sku": "many"}

    with pytest.raises(RowDataError) as caught:
        await abulk_insert(Stock, rows())
    assert (caught.value.row_number, caught.value.field) == (1, "sku")

    async def broken() -> AsyncIterator[dict[str, Any]]:
        yield {"shop": "A", "sku": 1}
        raise RuntimeError("the source ended early")

    with pytest.raises(RuntimeError, match="ended early"):
        await abulk_insert(Stock, broken(), chunk_rows=1)
    assert not await Stock.objects.aexists()


@pytest.mark.parametrize("is_async", [True, False])
@in_event_loop
async def test_a_cancelled_task_leaves_nothing(is_async: bool) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def endless() -> AsyncIterator[dict[str, Any]]:
        number = 0
        while True:
            number += 1
            await asyncio.sleep(0)
            yield {"shop": "A", "sku": number}

    def endless_in_thread() -> Any:
        number = 0
        while True:
            number += 1
            yield {"shop": "A", "sku": number}

    rows = endless() if is_async else endless_in_thread()
    task = asyncio.create_task(
        abulk_insert(Stock, rows, chunk_rows=10, progress=lambda _rows: loop.call_soon_threadsafe(begun.set))
    )
    await asyncio.wait_for(begun.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await Stock.objects.aexists()
    await Country.objects.acreate(code="PE")  # the connection is of use
