"""`cached_query`: a function that returns a queryset, called without building it where the answer is cached."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, Final, Generic, NamedTuple, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet, prefetch_related_objects
from django.utils import timezone

from perfkit.caching.databases import entry_scope
from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.places import Place, Rows
from perfkit.caching.plain_values import UnknownShapeError, marked
from perfkit.caching.queries import Form, rows_of
from perfkit.caching.queryset import CachedQuerySet, as_cached, checked_ttl, place_of, whereabouts_of
from perfkit.caching.reads import read_rows

P = ParamSpec("P")
M = TypeVar("M", bound=Model)

MOST_CALLS: Final = 2_000
"""Of one function, kept in a process; beyond, all are forgotten and learnt anew."""


class Call(NamedTuple):
    """What is known of a function called with certain arguments, so that it need not be called.

    Args:
        alias: The database that the queryset itself names, None where the routers choose.
        hints: For the routers.
        used: The database that it was built for.
        ttl_seconds: How long the answer is kept.
        database: What `databases.entry_scope` called it.
        until: When the function is called again, on the monotonic clock.
    """

    model: type[Model]
    alias: str | None
    hints: dict[str, Any]
    used: str
    database: str
    place: Place
    form: Form
    ttl_seconds: int
    lookups: tuple[Any, ...]
    until: float

    def connection(self) -> BaseDatabaseWrapper | None:
        """Return the connection to read with, None where the function may now return another queryset."""
        if time.monotonic() >= self.until:
            return None
        if (
            self.alias is None
            and router.routers
            and router.db_for_read(self.model, **self.hints) != self.used
        ):
            return None
        connection = connections[self.used]
        return connection if entry_scope(connection) == self.database else None


class OtherQueryError(Exception):
    """The function has returned another query for the same arguments. Never leaves this module."""


class CachedQuery(Generic[P, M]):
    """A function that returns a queryset; see `cached_query`."""

    def __init__(self, function: Callable[P, QuerySet[M]], *, ttl: int | None) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._ttl = ttl
        self._calls: dict[Any, Call] = {}
        self._lock = fork_safe_lock()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> list[M]:
        """Return the rows as a list of what iterating over the queryset yields, made anew for each caller."""
        key = _key_of(args, kwargs)
        call = None if key is None else self._calls.get(key)
        connection = None if call is None else call.connection()
        if call is None or connection is None:
            return self._called(key, args, kwargs)

        def fetch() -> Rows:
            queryset = self.queryset(*args, **kwargs)
            if place_of(queryset) != call.place:
                raise OtherQueryError
            return rows_of(queryset)

        try:
            rows = read_rows(
                call.model,
                call.place,
                connection=connection,
                ttl_seconds=call.ttl_seconds,
                fetch=fetch,
                is_expected=call.form.fits,
            )
        except OtherQueryError:  # what it returns depends on more than its arguments
            return self._called(key, args, kwargs)
        assert call.form.hydrator is not None  # noqa: S101  # only such calls are kept
        objects = call.form.hydrator(rows, connection)
        if call.lookups:
            prefetch_related_objects(objects, *call.lookups)
        return objects

    async def acall(self, *args: P.args, **kwargs: P.kwargs) -> list[M]:
        """Return the rows, as calling the function does."""
        return await sync_to_async(self)(*args, **kwargs)

    def queryset(self, *args: P.args, **kwargs: P.kwargs) -> CachedQuerySet[M]:
        """Call the function itself; return its queryset, answered from the cache.

        Raises:
            TypeError: It did not return a queryset.
        """
        queryset = self._function(*args, **kwargs)
        if not isinstance(queryset, QuerySet):
            raise TypeError(
                f"{self._function.__qualname__} is a cached query and must return a queryset, "
                f"not {type(queryset).__name__}."
            )
        return as_cached(queryset, ttl=self._ttl)

    def _called(self, key: Any, args: Any, kwargs: Any) -> list[M]:
        queryset: Any = self.queryset(*args, **kwargs)
        objects: list[M] = list(queryset)
        found = None if key is None else whereabouts_of(queryset)
        if found is not None:
            place, form = found
            alias = queryset.db
            call = Call(
                queryset.model,
                queryset._db,  # no public name
                dict(queryset._hints),  # noqa: SLF001  # likewise
                alias,
                entry_scope(connections[alias]),
                place,
                form,
                queryset._seconds,  # noqa: SLF001  # of this room
                tuple(queryset._prefetch_related_lookups),  # noqa: SLF001  # likewise
                time.monotonic() + queryset._seconds,  # noqa: SLF001  # of this room
            )
            with self._lock:
                if len(self._calls) >= MOST_CALLS:
                    self._calls.clear()
                self._calls[key] = call
        return objects


def cached_query(*, ttl: int | None = None) -> Callable[[Callable[P, QuerySet[M]]], CachedQuery[P, M]]:
    """Declare that a function returns a queryset which depends on nothing but its arguments.

    Calling it returns a list.
    The function itself runs once per process and arguments until `ttl` is over; in between no queryset is built,
    which takes longer than reading the answer from the cache.
    The answer is as fresh as that of the queryset: a read that starts after a commit has returned to its writer
    never yields an older value.

    Arguments that are not plain values (numbers, texts, dates, UUIDs, or lists and tuples of them), such as
    instances, build the queryset at each call.

    Args:
        ttl: Seconds an answer lives; `PERFKIT["CACHE_DEFAULT_TTL"]` where left out.

    Raises:
        ValueError: `ttl` is not a whole number of seconds, at least 1.

    Queries:
        None on a hit, else those of the queryset.

    Example:
        @cached_query(ttl=600)
        def departures(origin: str, day: date) -> QuerySet[Flight]:
            return Flight.objects.filter(origin=origin, day=day).select_related("airline")

        departures("JFK", date(2013, 7, 4))
        departures.queryset("JFK", date(2013, 7, 4)).count()
    """
    if ttl is not None:
        checked_ttl(ttl)
    return lambda function: CachedQuery(function, ttl=ttl)


def _key_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what tells a call from all others that may return another queryset, None where it is not known."""
    try:
        named = tuple(map(marked, args)), tuple([(name, marked(value)) for name, value in kwargs.items()])
        hash(named)
    except (UnknownShapeError, TypeError):
        return None
    return (*named, timezone.get_current_timezone())
