"""Answers from the cache, or made by a function or a coroutine: what drives the steps of `reads`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async

from perfkit.caching.named.held import MISSING, known_value
from perfkit.caching.named.invalidation import void_with_transaction
from perfkit.caching.named.reads import NamedRead
from perfkit.caching.named.recipes import Named, Recipe
from perfkit.caching.named.standing import Standing, current_standing
from perfkit.caching.named.straight import straight
from perfkit.signals import NOBODYS, work

Make = Callable[[], Any]
AsyncMake = Callable[[], Awaitable[Any]]
Renew = Callable[[], None]


def answer(
    recipe: Recipe, named: Named, make: Make, standing: Standing | None, renew: Renew | None = None
) -> Any:
    """Return the value of a name; where the cache has none that holds, make it, and keep it.

    For what a scope may know see `held.known_value`, which asks nobody.

    Args:
        standing: How the thread stands.
        renew: Has the value made anew in the background; called where it is due.

    Raises:
        UncacheableResultError: What was made would not come back the same.

    Queries:
        See `NamedRead.looks`; those of `make` where it is called.
    """
    doing, looked = work.begin("cache.read", recipe.sender), None
    if doing is NOBODYS:
        known, looked = straight(recipe, named, standing)
        if known is not MISSING:
            return known
    with doing:
        read = NamedRead(recipe, named, looked=looked)
        for seconds in read.looks():
            time.sleep(seconds)
        if read.value is MISSING:
            return _made(read, make)
    if renew is not None and read.is_due:
        renew()
    return read.value


def remade(recipe: Recipe, named: Named, make: Make, *, replaces: bool = True) -> Any:
    """Make the value whatever the cache has, and keep it in the place of that.

    Args:
        replaces: Whether what other processes hold is void; else they show it until it ends.
    """
    read = NamedRead(recipe, named)
    read.begin()
    return _made(read, make, replaces=replaces)


class Kept(NamedTuple):
    """What became of a value that was to be made and kept.

    Args:
        size_bytes: Of the entry; 0 where none was stored.
        refusal: Why it may not be kept; empty too where it is not wanted, or was voided while it was made.
    """

    size_bytes: int
    refusal: str


def kept(recipe: Recipe, named: Named, make: Make, *, replaces: bool) -> Kept:
    """Make the value and keep it as `remade` does; where it could not be kept, it is not made."""
    read = NamedRead(recipe, named)
    read.begin()
    if not read.refusal:
        _made(read, make, replaces=replaces)
    return Kept(read.kept_bytes, read.refusal)


async def akept(recipe: Recipe, named: Named, make: AsyncMake, *, replaces: bool) -> Kept:
    """Make the value and keep it as `kept` does, with a coroutine."""
    read = NamedRead(recipe, named)
    await sync_to_async(read.begin)()
    if not read.refusal:
        await _amade(read, make, replaces=replaces)
    return Kept(read.kept_bytes, read.refusal)


async def aanswer(
    recipe: Recipe,
    name: Callable[[], Named],
    make: AsyncMake,
    renewal: Callable[[Named], Renew] | None = None,
) -> Any:
    """Return the value of a name as `answer` does, with a coroutine that makes it.

    A hit is one way to the thread of this coroutine's connections and back.

    Args:
        name: Finds the name, in that thread.
        renewal: Returns what `answer` takes as `renew`.
    """
    with work.begin("cache.read", recipe.sender) as doing:
        return await _aanswer(recipe, name, make, renewal, is_traced=doing is not NOBODYS)


async def _aanswer(
    recipe: Recipe,
    name: Callable[[], Named],
    make: AsyncMake,
    renewal: Callable[[Named], Renew] | None,
    *,
    is_traced: bool,
) -> Any:
    begun: list[NamedRead] = []

    def begin() -> tuple[Any, Named, Iterator[float], float | None]:
        named = name()
        standing = current_standing()
        known, looked = known_value(recipe, named, standing), None
        if known is MISSING and not is_traced:
            known, looked = straight(recipe, named, standing)
        if known is not MISSING:
            return known, named, iter(()), None
        read = NamedRead(recipe, named, looked=looked)
        begun.append(read)
        looks = read.looks()
        wait = next(looks, None)
        return read.value, named, looks, wait

    try:
        value, named, looks, wait = await sync_to_async(begin)()
        while wait is not None:
            await asyncio.sleep(wait)  # others make it
            wait = await sync_to_async(_next_wait)(looks)
    except BaseException:
        await asyncio.shield(sync_to_async(_failed)(begun))
        raise
    if not begun:
        return value
    [read] = begun
    if read.value is MISSING:
        return await _amade(read, make)
    if renewal is not None and read.is_due:
        await sync_to_async(renewal(named))()  # it asks the store
    return read.value


async def aremade(recipe: Recipe, named: Named, make: AsyncMake, *, replaces: bool = True) -> Any:
    """Make the value as `remade` does, with a coroutine."""
    read = NamedRead(recipe, named)
    await sync_to_async(read.begin)()
    return await _amade(read, make, replaces=replaces)


def _next_wait(looks: Iterator[float]) -> float | None:
    return next(looks, None)


def _failed(begun: list[NamedRead]) -> None:
    for read in begun:
        read.failed()


def _made(read: NamedRead, make: Make, *, replaces: bool = False) -> Any:
    started = time.perf_counter()
    try:
        with read.recorded():
            value = make()
    except BaseException:
        read.failed()
        raise
    read.made(value, seconds=time.perf_counter() - started, replaces=replaces)
    if replaces and not read.kept_bytes:
        void_with_transaction(read.own_tags)  # nothing stands in the place of what was there
    return value


async def _amade(read: NamedRead, make: AsyncMake, *, replaces: bool = False) -> Any:
    started = time.perf_counter()
    try:
        with read.recorded():
            value = await make()
    except BaseException:
        await asyncio.shield(sync_to_async(read.failed)())
        raise
    seconds = time.perf_counter() - started
    await sync_to_async(read.made)(value, seconds=seconds, replaces=replaces)
    if replaces and not read.kept_bytes:
        await sync_to_async(void_with_transaction)(read.own_tags)
    return value
