"""Pools of async connections: their sessions, their loops, and processes that are forked."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.conf import LazySettings
from django.db import connection, connections

from perfkit.errors import PoolBusyError, SettingsError
from perfkit.loading import identity_map
from perfkit.loading.identity_scope import current_map
from perfkit.postgres import async_pools
from perfkit.postgres.async_pools import async_connection, close_async_pools, is_poolable
from tests.api.compiling.loops import direct, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]

NAME = "async-pool-tests"


@pytest.fixture(autouse=True)
def _pool(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.PERFKIT = {**settings.PERFKIT, "ASYNC_POOL_SIZE": 2}
    chosen = {**connection.settings_dict["OPTIONS"], "application_name": NAME}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", chosen)
    yield
    assert async_pools._opened == {}


async def ask(sql: str = "SELECT pg_backend_pid()") -> Any:
    async with async_connection("default") as driver:
        cursor = await driver.execute(sql)
        row = await cursor.fetchone()
        return None if row is None else row[0]


def sessions() -> int:
    with direct() as other:
        row = other.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [NAME]
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_its_sessions_are_as_djangos() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, current_database(), current_setting('client_encoding')")
        expected = cursor.fetchone()

    async def asked() -> list[Any]:
        return [
            await ask(sql)
            for sql in (
                "SHOW timezone",
                "SHOW application_name",
                "SHOW client_encoding",
                "SELECT current_user",
            )
        ]

    with direct() as other:
        other.execute(f"ALTER DATABASE {connection.settings_dict['NAME']} SET timezone = 'Asia/Tokyo'")
        try:
            assert asyncio.run(asked()) == ["UTC", NAME, expected[2], expected[0]]
        finally:
            other.execute(f"ALTER DATABASE {connection.settings_dict['NAME']} RESET timezone")


def test_they_take_the_role_that_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {**connection.settings_dict["OPTIONS"], "assume_role": "pg_read_all_data"}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", chosen)
    assert asyncio.run(ask("SELECT current_user")) == "pg_read_all_data"


def test_a_connection_is_used_again() -> None:
    async def asked() -> list[int]:
        return [await ask() for _ in range(5)]

    assert len(set(asyncio.run(asked()))) == 1


@pytest.mark.parametrize("close", [True, False])
def test_each_loop_has_its_own_which_ends_with_it(close: bool) -> None:
    async def asked() -> int:
        pid: int = await ask()
        await asyncio.gather(ask("SELECT pg_sleep(0.05)::text"), ask("SELECT pg_sleep(0.05)::text"))
        if close:
            await close_async_pools()
        return pid

    pids = {asyncio.run(asked()) for _ in range(3)}
    assert len(pids) == 3
    asyncio.run(until(lambda: sessions() == 0))


def test_it_may_be_closed_and_asked_again() -> None:
    async def asked() -> bool:
        first = await ask()
        await close_async_pools()
        return bool(first != await ask())

    assert asyncio.run(asked())


def test_a_loop_that_fails_leaves_none_open() -> None:
    async def asked() -> None:
        await ask()
        raise LookupError

    with pytest.raises(LookupError):
        asyncio.run(asked())
    asyncio.run(until(lambda: sessions() == 0))


def test_an_error_gives_the_connection_back() -> None:
    async def asked() -> int:
        for _ in range(4):
            with pytest.raises(psycopg.errors.DivisionByZero):
                await ask("SELECT 1 / 0")
        pid: int = await ask()
        return pid

    assert asyncio.run(asked())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_process_has_none_of_them() -> None:
    async def asked() -> tuple[int, bool]:
        before = await ask()
        child = os.fork()
        if child == 0:
            os._exit(len(async_pools._opened))
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        return os.waitstatus_to_exitcode(status), bool(before == await ask())

    assert asyncio.run(asked()) == (0, True)


def test_a_server_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_pools, "WAIT_SECONDS", 0.3)
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    with pytest.raises(PoolBusyError, match="the database does not answer"):
        asyncio.run(ask())


def test_without_psycopg_pool_the_option_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg_pool", None)
    with pytest.raises(SettingsError, match=r"ASYNC_POOL_SIZE.*psycopg\[pool\]"):
        asyncio.run(ask())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (dict, True),
        (lambda: {"DISABLE_SERVER_SIDE_CURSORS": True}, False),
        (lambda: {"OPTIONS": {}}, False),
    ],
)
def test_it_is_for_what_is_declared_to_be_prepared(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[], dict[str, Any]], expected: bool
) -> None:
    connection.close()
    for key, value in change().items():
        monkeypatch.setitem(connection.settings_dict, key, value)
    assert is_poolable(connections["default"]) is expected
    assert connection.connection is None


def gathered(*many: Awaitable[Any]) -> Any:
    async def run() -> list[Any]:
        return list(await asyncio.gather(*many))

    return asyncio.run(run())


def test_no_more_are_open_than_declared() -> None:
    pids = gathered(*[ask("SELECT pg_backend_pid() FROM pg_sleep(0.02)") for _ in range(12)])
    assert len(set(pids)) <= 2


def test_its_workers_keep_nothing_of_who_has_asked_first() -> None:
    async def is_kept() -> bool:
        with identity_map():
            await async_pools._pool("default")
            own = weakref.ref(current_map())
        await ask()
        gc.collect()
        return own() is not None

    assert not asyncio.run(is_kept())
