"""What a queryset yields, made from the driver's rows: all of it at once, or one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, repeat
from operator import itemgetter
from typing import Any, Final

from django.core.exceptions import EmptyResultSet
from django.db.models import QuerySet
from django.db.models.query import (
    FlatValuesListIterable,
    ModelIterable,
    ValuesIterable,
    ValuesListIterable,
)
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.constants import GET_ITERATOR_CHUNK_SIZE, MULTI

from perfkit.hydration.instances import FETCH_MODE
from perfkit.hydration.known_related import known_setter
from perfkit.hydration.moments import load_moments_fast
from perfkit.hydration.related import ModelRows
from perfkit.hydration.shapes import model_rows_for
from perfkit.hydration.telling import FIRST_OF_ITS_SHAPE, own_iterable, tell_hydrated
from perfkit.signals import rows_hydrated

Chunk = Sequence[Sequence[Any]]

DJANGOS: Final[dict[type, Callable[[Any], Iterator[Any]]]] = {
    each: each.__iter__
    for each in (ModelIterable, ValuesIterable, ValuesListIterable, FlatValuesListIterable)
}
"""The iterables that are served, and what each did when this module was loaded; somebody may patch them."""


def is_served(iterable_class: Any) -> bool:
    """Return whether the results of an iterable class can be made here, and not by itself alone.

    A project's own cannot, nor one of Django's that was patched, nor that of named tuples.
    """
    return DJANGOS.get(iterable_class) is getattr(iterable_class, "__iter__", ...)


def objects_of(queryset: QuerySet[Any]) -> list[Any]:
    """Return what iterating over a queryset yields, without what it prefetches; nothing is kept in it.

    The same events happen in the same order as where Django evaluates the queryset.

    Queries:
        One, none where the queryset can have no rows.
    """
    iterable_class: Any = queryset._iterable_class  # noqa: SLF001  # no public name
    if not is_served(iterable_class):
        made = list(iterable_class(queryset))
        tell_hydrated(queryset, len(made), own_iterable(iterable_class))
        return made
    answer = _Answer(queryset)
    if iterable_class is not ModelIterable:
        return list(answer.values(iterable_class))
    model_rows = answer.model_rows()
    set_known = None if model_rows is None else known_setter(queryset)
    objects: list[Any]
    if model_rows is None:
        objects = list(answer.djangos_objects())
    elif set_known is None:
        objects = model_rows(answer.alias, answer.rows(), fetch_mode=answer.fetch_mode)
    else:
        objects = list(answer.objects(model_rows, set_known))
    if rows_hydrated.receivers:
        reason = FIRST_OF_ITS_SHAPE if model_rows is None else model_rows.why_from_db()
        tell_hydrated(queryset, len(objects), reason)
    return objects


def iterate(queryset: QuerySet[Any], *, chunked_fetch: bool, chunk_size: int) -> Iterator[Any]:
    """Yield what iterating over a queryset yields, each made when it is asked for.

    A class that is patched meanwhile is noticed where the next read begins, a receiver with the next instance.

    Args:
        chunked_fetch: Whether the rows stay in the database, if it can, until they are asked for.
        chunk_size: So many are fetched at once.

    Queries:
        One, when the first object is asked for.
    """
    iterable_class: Any = queryset._iterable_class  # noqa: SLF001  # no public name
    if not is_served(iterable_class):
        tell_hydrated(queryset, None, own_iterable(iterable_class))
        yield from iterable_class(queryset, chunked_fetch=chunked_fetch, chunk_size=chunk_size)
        return
    answer = _Answer(queryset, chunked_fetch=chunked_fetch, chunk_size=chunk_size)
    if iterable_class is not ModelIterable:
        yield from answer.values(iterable_class)
        return
    model_rows = answer.model_rows()
    if rows_hydrated.receivers:
        reason = FIRST_OF_ITS_SHAPE if model_rows is None else model_rows.why_from_db()
        tell_hydrated(queryset, None, reason)
    if model_rows is None:
        yield from answer.djangos_objects()
    else:
        yield from answer.objects(model_rows, known_setter(queryset))


def answer_of(
    compiler: SQLCompiler,
    sql: str,
    params: Sequence[Any],
    *,
    chunked_fetch: bool = False,
    chunk_size: int = GET_ITERATOR_CHUNK_SIZE,
) -> Iterable[Chunk]:
    """Ask the database for the rows of a compiled query; return them in chunks, as the driver gives them.

    Args:
        compiler: What has compiled the query; it is of no other use afterwards.
        sql: What it came to.
        params: Likewise.
    """
    asked: Any = compiler
    load_moments_fast(asked.connection)
    asked.as_sql = lambda *_, **__: (sql, params)  # once is enough
    chunks: Iterable[Chunk] = asked.execute_sql(MULTI, chunked_fetch=chunked_fetch, chunk_size=chunk_size)
    return chunks


class _Answer:
    """A query that was asked, and its rows."""

    def __init__(self, queryset: QuerySet[Any], **chunking: Any) -> None:
        self._queryset = queryset
        self.alias = queryset.db
        self.fetch_mode = getattr(queryset, "_fetch_mode", FETCH_MODE)  # only from Django 6.1
        self._names = _value_names(queryset)
        self._compiler: Any = queryset.query.get_compiler(using=self.alias)
        try:
            sql, params = self._compiler.as_sql()
        except EmptyResultSet:
            self._chunks: Iterable[Chunk] = []
        else:
            self._chunks = answer_of(self._compiler, sql, params, **chunking)

    def rows(self, **options: Any) -> Iterator[Any]:
        """Yield the rows as Django shows them, each converted when it is asked for."""
        rows: Iterator[Any] = self._compiler.results_iter(self._chunks, **options)
        return rows

    def model_rows(self) -> ModelRows | None:
        """Return what makes the instances; None where Django does."""
        if not self._compiler.klass_info:
            return None
        chunks = iter(self._chunks)
        first = next(chunks, ())
        self._chunks = chain((first,), chunks)
        return model_rows_for(self._compiler, len(first))

    def objects(self, model_rows: ModelRows, set_known: Callable[[Any], None] | None) -> Iterator[Any]:
        """Yield the instances, each made when it is asked for."""
        objects = model_rows.lazily(self.alias, self.rows(), fetch_mode=self.fetch_mode)
        if set_known is None:
            yield from objects
            return
        for each in objects:
            set_known(each)
            yield each

    def djangos_objects(self) -> Iterator[Any]:
        """Yield the instances that Django makes of the rows."""
        standing: Any = _Standing(self._queryset, self._compiler, self._chunks)
        return iter(ModelIterable(standing))

    def values(self, iterable_class: type) -> Iterable[Any]:
        """Return what is no instance."""
        if iterable_class is ValuesIterable:
            return map(dict, map(zip, repeat(self._names), self.rows()))
        if iterable_class is FlatValuesListIterable:
            return map(itemgetter(0), self.rows())
        return self.rows(tuple_expected=True)


class _Standing:
    """Stands before Django's `ModelIterable` for a queryset and its query, whose answer is there already."""

    def __init__(self, queryset: QuerySet[Any], compiler: Any, chunks: Iterable[Chunk]) -> None:
        compiler.execute_sql = lambda *_, **__: chunks
        self._queryset = queryset
        self._compiler = compiler

    @property
    def query(self) -> _Standing:  # in an attribute it would keep itself alive, and with it the cursor
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queryset, name)

    def get_compiler(self, using: str) -> Any:
        return self._compiler


def _value_names(queryset: QuerySet[Any]) -> list[str]:
    """Return the keys of what `values()` yields, which its iterable reads before the query is compiled."""
    if queryset._iterable_class is not ValuesIterable:  # noqa: SLF001  # no public name
        return []
    query: Any = queryset.query
    if query.selected:
        return list(query.selected)
    return [*query.extra_select, *query.values_select, *query.annotation_select]
