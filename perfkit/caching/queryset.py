"""`CachedQuerySet`: a queryset whose answers come from the cache, and are never stale."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any, Final, Self, TypeVar

from django.core.exceptions import EmptyResultSet, FieldError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet
from django.db.models.sql import Query

from perfkit.caching.bypass import Bypass, UntrackedTableBypass
from perfkit.caching.calls import Unbuilt
from perfkit.caching.places import Place, Rows
from perfkit.caching.queries import (
    Form,
    PreparedRead,
    compiled,
    prepared_read,
    prepared_unbuilt,
)
from perfkit.caching.reads import read_rows
from perfkit.caching.recorder import current_recorder
from perfkit.caching.trust import tell_bypass, warn_once
from perfkit.caching.unbuilt import UnbuiltQuerySet
from perfkit.conf import options
from perfkit.hydration import FastQuerySetMixin

M = TypeVar("M", bound=Model)
A = TypeVar("A")

DEFAULT: Final = -1
"""Stands for `PERFKIT["CACHE_DEFAULT_TTL"]`, read at each use."""


class CachedQuerySet(FastQuerySetMixin[M], UnbuiltQuerySet[M]):
    """Answers what it is asked from the cache: rows, `get`, `count`, `exists`, `aggregate`, `in_bulk`, slices.

    The answer depends on every table that the query looks into, and goes with any write to one of them.
    `iterator()` and everything that locks or writes goes to the database; so does a query whose answer may not
    be kept (random order, `now()`, raw SQL, a function or lookup of the project's own, a table that is not
    tracked), which `perfkit.signals.cache_read` tells as a bypass with its reason.
    """

    _ttl_seconds: int | None = None
    """How long an answer is kept; None for not at all."""

    _recorder: Any = None
    """Who was told of its answer, where somebody wanted to know."""

    _whereabouts: tuple[Place, Form] | None = None
    """Where the answer was looked for, and what its rows become; None where that depends on more than them."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the rows and the query, without what belongs to this process alone."""
        return {**super().__getstate__(), "_whereabouts": None, "_recorder": None}

    def cached(self, *, ttl: int | None = None) -> Self:
        """Return this queryset, answered from the cache.

        Args:
            ttl: Seconds; `PERFKIT["CACHE_DEFAULT_TTL"]` where left out.

        Raises:
            ValueError: `ttl` is not a whole number of seconds, at least 1.
        """
        return self._kept_for(DEFAULT if ttl is None else checked_ttl(ttl))

    def uncached(self) -> Self:
        """Return this queryset, answered by the database."""
        return self._kept_for(None)

    def count(self) -> int:
        """Return how many rows there are."""
        if self._result_cache is not None:
            return len(self._result_cache)
        return self._scalar("count", super().count)

    def exists(self) -> bool:
        """Return whether there is any row."""
        if self._result_cache is not None:
            return bool(self._result_cache)
        return self._scalar("exists", super().exists)

    def aggregate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the aggregates by their names."""

        def ask() -> dict[str, Any]:
            return super(CachedQuerySet, self).aggregate(*args, **kwargs)

        query = self._with_aggregates(args, kwargs) if self.is_cached else None
        if query is None:
            return ask()
        # One row, for the answers differ in type: name, value, name, value …
        rows = self._read(query, "aggregate", lambda: [tuple(chain.from_iterable(ask().items()))])
        return ask() if rows is None else dict(zip(rows[0][::2], rows[0][1::2], strict=True))

    @classmethod
    def as_manager(cls) -> Any:
        """Return a `CachedManager` with this queryset's methods."""
        from perfkit.caching.manager import CachedManager

        manager: Any = CachedManager.from_queryset(cls)()
        manager._built_with_as_manager = True  # noqa: SLF001  # as Django's does
        return manager

    as_manager.queryset_only = True  # type: ignore[attr-defined]  # Django's way to keep it off managers

    def _kept_for(self, ttl_seconds: int | None) -> Self:
        clone: Any = self._chain()  # type: ignore[attr-defined]  # missing in the stubs
        clone._ttl_seconds = ttl_seconds  # noqa: SLF001  # of this class
        return clone  # type: ignore[no-any-return]

    def _standing_for(self, unbuilt: Unbuilt) -> Self:
        clone: Any = super()._standing_for(unbuilt)
        clone._ttl_seconds = self._ttl_seconds  # noqa: SLF001  # of this class
        return clone  # type: ignore[no-any-return]

    def _clone(self) -> Self:
        clone: Any = super()._clone()
        clone._ttl_seconds = self._ttl_seconds  # noqa: SLF001  # likewise
        return clone  # type: ignore[no-any-return]

    def _fetch_all(self) -> None:
        recorder = current_recorder()
        if recorder is not None:
            if self._result_cache is not None and self._recorder is not recorder:
                recorder.refuse("read before")
            self._recorder = recorder
        if self._result_cache is None and self.is_cached:
            self._result_cache = self._cached_objects()
        super()._fetch_all()

    @property
    def is_cached(self) -> bool:
        """Whether its answers are kept."""
        return self._ttl_seconds is not None

    def _cached_objects(self) -> list[M] | None:
        """Return what iterating yields, None where only Django may ask."""
        prepared = self._prepared(self._asked)
        if prepared is None:
            return None

        def fetch() -> Rows:
            return (prepared.known or compiled(self.query, self.db)).rows()

        connection = connections[self.db]
        try:
            form = prepared.shape.form(self, prepared.known, connection.vendor)
            place = prepared.place(connection, self._seconds)
            rows = self._rows_at(place, fetch, connection, is_expected=form.fits)
        except EmptyResultSet:
            return []
        if form.hydrator is not None and not self._known_related_objects:  # type: ignore[attr-defined]  # missing in the stubs
            self._whereabouts = (place, form)
        return form.objects(self, rows, connection)

    def _scalar(self, kind: str, ask: Callable[[], A]) -> A:
        rows = self._read(self._asked, kind, lambda: [(ask(),)]) if self.is_cached else None
        return ask() if rows is None else rows[0][0]

    def _read(self, query: Query | Unbuilt, kind: str, fetch: Callable[[], Rows]) -> Rows | None:
        prepared = self._prepared(query)
        if prepared is None:
            return None
        connection = connections[self.db]
        place = prepared.place(connection, self._seconds, kind)
        return self._rows_at(place, fetch, connection, is_expected=_is_one_row)

    def _rows_at(
        self,
        place: Place,
        fetch: Callable[[], Rows],
        connection: BaseDatabaseWrapper,
        *,
        is_expected: Callable[[Rows], bool],
    ) -> Rows:
        return read_rows(
            self.model,
            place,
            connection=connection,
            ttl_seconds=self._seconds,
            fetch=fetch,
            is_expected=is_expected,
        )

    @property
    def _seconds(self) -> int:
        assert self._ttl_seconds is not None  # noqa: S101  # asked only of what is kept
        return options.CACHE_DEFAULT_TTL if self._ttl_seconds == DEFAULT else self._ttl_seconds

    def _prepared(self, query: Query | Unbuilt) -> PreparedRead | None:
        """Return what is known of a query, the own one or one made of it; None where only Django may ask."""
        locks = not isinstance(query, Unbuilt) and query.select_for_update
        if self._for_write and not locks:  # type: ignore[attr-defined]  # missing in the stubs
            tell_bypass(self.model, "for writing")
            return None
        try:
            if isinstance(query, Unbuilt):
                prepared = prepared_unbuilt(query)
                if prepared is not None:
                    return prepared
                query = self.query
            return prepared_read(query, self.db)
        except EmptyResultSet:
            return None  # Django answers by itself
        except UntrackedTableBypass as bypass:
            warn_once(str(bypass))
            tell_bypass(self.model, bypass.reason)
        except Bypass as bypass:
            tell_bypass(self.model, str(bypass))
        return None

    def _with_aggregates(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Query | None:
        """Return the query with the aggregates among its columns, which name the answer."""
        query = self.query.chain()
        try:
            for alias, aggregate in (*kwargs.items(), *((each.default_alias, each) for each in args)):
                query.add_annotation(aggregate, alias)
        except (FieldError, TypeError, ValueError, AttributeError):
            tell_bypass(self.model, "aggregate")
            return None
        return query


def as_cached(queryset: QuerySet[M], *, ttl: int | None) -> CachedQuerySet[M]:
    """Return any queryset as one that is answered from the cache.

    Args:
        ttl: Seconds; the queryset's own where left out, or `PERFKIT["CACHE_DEFAULT_TTL"]`.
    """
    clone: Any = queryset._chain()  # type: ignore[attr-defined]  # noqa: SLF001  # no public name
    if not isinstance(clone, CachedQuerySet):
        state = vars(clone)
        clone = CachedQuerySet(queryset.model)
        vars(clone).update(state)
    if ttl is not None or clone._ttl_seconds is None:  # noqa: SLF001  # of this room
        clone._ttl_seconds = DEFAULT if ttl is None else ttl  # noqa: SLF001  # likewise
    return clone  # type: ignore[no-any-return]


def place_of(queryset: CachedQuerySet[Any]) -> Place | None:
    """Return where the rows of a queryset are kept, None where they are not."""
    prepared = queryset._prepared(queryset._asked)  # noqa: SLF001  # of this room
    seconds = queryset._seconds  # noqa: SLF001  # likewise
    return None if prepared is None else prepared.place(connections[queryset.db], seconds)


def required_place(queryset: CachedQuerySet[Any]) -> tuple[Place, int]:
    """Return where the rows of a queryset are kept, and for how many seconds.

    Raises:
        Bypass: They may not be kept.
        EmptyResultSet: There are none, whatever the database holds.
    """
    seconds = queryset._seconds  # noqa: SLF001  # of this room
    prepared = prepared_read(queryset.query, queryset.db)
    return prepared.place(connections[queryset.db], seconds), seconds


def whereabouts_of(queryset: CachedQuerySet[Any]) -> tuple[Place, Form] | None:
    """Return where the answer of an evaluated queryset is kept, and what its rows become.

    None where it is not kept, or where what its rows become depends on more than them.
    """
    return queryset._whereabouts  # noqa: SLF001  # of this room


def _is_one_row(rows: Rows) -> bool:
    return len(rows) == 1


def checked_ttl(ttl: object) -> int:
    """Return `ttl` if it is a whole number of seconds, at least 1, else raise ValueError."""
    if type(ttl) is not int or ttl < 1:
        raise ValueError(f"ttl is a whole number of seconds, at least 1, not {ttl!r}.")
    return ttl
