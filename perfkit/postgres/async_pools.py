"""Pools of psycopg's async connections: one for each event loop and database, made when the first is asked for.

# Note [The life of an async pool]
A pool belongs to the event loop that opened it, so there is one for each. Django's ASGI application is told
nothing of the end of its server, but the loop closes the async generators that are under way before it is closed
itself: one of them waits beside each pool, and closes it. A child process that is forked forgets all pools, whose
sockets are its parent's: it keeps them unused, for to drop one would wake the parent's loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from weakref import WeakSet

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.conf import options
from perfkit.errors import PoolBusyError, SettingsError
from perfkit.making import apart_from_run
from perfkit.postgres.databases import RECYCLE_SECONDS, WAIT_SECONDS
from perfkit.postgres.prepared import is_behind_pooler

if TYPE_CHECKING:
    import psycopg
    from psycopg_pool import AsyncConnectionPool

_Drivers: TypeAlias = "WeakSet[psycopg.AsyncConnection[Any]]"


class _Opened(NamedTuple):
    """A pool, and what closes it with its loop."""

    pool: AsyncConnectionPool[Any]
    closing: AsyncGenerator[None, None]


_opened: Final[dict[tuple[asyncio.AbstractEventLoop, str], _Opened]] = {}
_of_parents: Final[list[Any]] = []


def is_poolable(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a connection of an async pool is as those of this alias, and prepares what asks for it.

    Not where another back end than Django's own makes connections, which may do more to them than the settings
    say; nor where a pooler in transaction mode is declared, or no `prepare_threshold` given.

    Queries: none; nor does it connect.
    """
    settings = connection.settings_dict
    return (
        connection.vendor == "postgresql"
        and type(connection).__module__ == "django.db.backends.postgresql.base"
        and not is_behind_pooler(settings)
        and settings["OPTIONS"].get("prepare_threshold") is not None
    )


@asynccontextmanager
async def async_connection(alias: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Lend a connection of the running loop's pool, in autocommit.

    Raises:
        PoolBusyError: None was free in time.
        SettingsError: psycopg_pool is not installed.
    """
    pool = await _pool(alias)
    from psycopg_pool import PoolTimeout  # it is there, for the pool is

    try:
        driver = await pool.getconn()
    except PoolTimeout as error:
        raise PoolBusyError(alias, pool.max_size, pool.timeout) from error
    try:
        yield driver
    finally:
        await pool.putconn(driver)


async def close_async_pools() -> None:
    """Close the pools of the running loop, as its end does."""
    loop = asyncio.get_running_loop()
    for key in [key for key in _opened if key[0] is loop]:
        await _opened[key].closing.aclose()


async def _pool(alias: str) -> AsyncConnectionPool[Any]:
    loop = asyncio.get_running_loop()
    known = _opened.get((loop, alias))
    if known is None:
        _forget_closed_loops()
        drivers: _Drivers = WeakSet()
        pool = _made(alias, drivers)
        closing = _closing(loop, alias, pool, drivers)
        _opened[loop, alias] = known = _Opened(pool, closing)
        await anext(closing)  # it waits for nothing: no other task comes in between
    return known.pool


async def _closing(
    loop: asyncio.AbstractEventLoop, alias: str, pool: AsyncConnectionPool[Any], drivers: _Drivers
) -> AsyncGenerator[None, None]:
    """Open a pool, and close it when this generator is."""
    try:
        with apart_from_run():  # its workers live as long as the loop
            await pool.open()
        yield
    finally:
        del _opened[loop, alias]
        # A loop that ends has cancelled the pool's workers before: then it stops there, with connections open.
        with suppress(asyncio.CancelledError):
            await pool.close()
        for driver in list(drivers):
            await driver.close()


def _made(alias: str, drivers: _Drivers) -> AsyncConnectionPool[Any]:
    try:
        from psycopg_pool import AsyncConnectionPool
    except ImportError as error:
        raise SettingsError("ASYNC_POOL_SIZE", "needs psycopg_pool: install psycopg[pool].") from error
    wrapper: Any = connections[alias]
    given = wrapper.settings_dict["OPTIONS"].get("pool")
    told = given if isinstance(given, dict) else {}
    parameters = wrapper.get_connection_params()
    del parameters["cursor_factory"]  # Django's, which is no async one

    async def configure(driver: psycopg.AsyncConnection[Any]) -> None:
        drivers.add(driver)
        await _configure(driver, wrapper)

    has_checks = wrapper.settings_dict["CONN_HEALTH_CHECKS"]
    return AsyncConnectionPool(
        kwargs={**parameters, "autocommit": True},
        min_size=0,
        max_size=options.ASYNC_POOL_SIZE,
        timeout=told.get("timeout", WAIT_SECONDS),
        max_lifetime=told.get("max_lifetime", RECYCLE_SECONDS),
        open=False,
        configure=configure,
        check=AsyncConnectionPool.check_connection if has_checks else None,
        name=f"perfkit-{alias}",
    )


async def _configure(driver: psycopg.AsyncConnection[Any], wrapper: Any) -> None:
    """Do to a session what Django does to its own."""
    if wrapper.timezone_name and driver.info.parameter_status("TimeZone") != wrapper.timezone_name:
        await driver.execute("SELECT set_config('TimeZone', %s, false)", [wrapper.timezone_name])
    if role := wrapper.settings_dict["OPTIONS"].get("assume_role"):
        await driver.execute("SELECT set_config('role', %s, false)", [role])


def _forget_closed_loops() -> None:
    """Forget the pools of loops that were closed without closing what ran on them."""
    for key in [key for key in _opened if key[0].is_closed()]:
        del _opened[key]


def _leave_to_parent() -> None:
    _of_parents.append(dict(_opened))
    _opened.clear()


os.register_at_fork(after_in_child=_leave_to_parent)
