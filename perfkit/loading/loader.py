"""Rows that concurrent tasks ask for one by one, loaded together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

from asgiref.sync import sync_to_async
from django.db import models

from perfkit.errors import UsageError
from perfkit.loading.many import key_of, load_many
from perfkit.making import current_making

M = TypeVar("M", bound=models.Model)


class DataLoader(Generic[M]):
    """Loads what is asked for in one turn of the event loop by one query.

    What makes a value for the cache has a query of its own, for the value depends on what that reads.
    Make one for each request: it reads through the connection, and in the transaction, of its thread.
    It remembers nothing: what is asked for later is read again.

    Args:
        source: A model or a queryset, as for `load_many`.
        relations: Paths that are loaded with the rows.
        using: The alias of the database.

    Example:
        >>> loader = DataLoader(Airline)  # doctest: +SKIP
        >>> first, second = await asyncio.gather(loader.load("UA"), loader.load("DL"))  # doctest: +SKIP
    """

    def __init__(
        self,
        source: type[M] | models.QuerySet[M],
        *,
        relations: Sequence[str] = (),
        using: str | None = None,
    ) -> None:
        self._source = source
        self._model = source.model if isinstance(source, models.QuerySet) else source
        self._relations = tuple(relations)
        self._using = using
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[object, dict[Any, asyncio.Future[M | None]]] = {}  # by who makes what
        self._loads: set[asyncio.Task[None]] = set()

    async def load(self, key: Any) -> M | None:
        """Return the row with this primary key, None where there is none.

        Raises:
            UsageError: The key is none that the model's can be, or the loader is another event loop's.
        """
        return await asyncio.shield(self._asked(key))  # a task that is cancelled does not take it from others

    async def load_many(self, keys: Iterable[Any]) -> list[M | None]:
        """Return the rows with these primary keys in their order, None for each that is not there.

        Raises:
            UsageError: As `load`.
        """
        asked = [self._asked(key) for key in keys]
        return [await asyncio.shield(each) for each in asked]

    def _asked(self, key: Any) -> asyncio.Future[M | None]:
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop:
            raise UsageError("This DataLoader belongs to another event loop: make one for each request.")
        self._loop = loop
        key = key_of(self._model, key)
        making = current_making()
        waiting = self._waiting.get(making)
        if waiting is None:
            waiting = self._waiting[making] = {}
            loop.call_soon(self._start, making)
        if key not in waiting:
            waiting[key] = loop.create_future()
        return waiting[key]

    def _start(self, making: object) -> None:
        load = asyncio.ensure_future(self._load(self._waiting.pop(making)))
        self._loads.add(load)  # else nothing holds it
        load.add_done_callback(self._loads.discard)

    async def _load(self, waiting: dict[Any, asyncio.Future[M | None]]) -> None:
        try:
            loaded = await sync_to_async(load_many)(
                self._source, waiting, relations=self._relations, using=self._using
            )
        except BaseException as error:
            for future in waiting.values():
                if isinstance(error, asyncio.CancelledError):
                    future.cancel()
                else:
                    future.set_exception(error)
                    future.exception()  # whoever asked may be gone, and hears of it no more
            if not isinstance(error, Exception):
                raise
        else:
            for future, row in zip(waiting.values(), loaded.rows, strict=True):
                future.set_result(row)
