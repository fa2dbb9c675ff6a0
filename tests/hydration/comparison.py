"""Django's way and the hydrator's, side by side."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import chain
from types import FrameType
from typing import Any

from django.db import connection
from django.db.models import Model, QuerySet
from django.db.models.sql.constants import MULTI

from perfkit.hydration import Hydrator, hydrator_for
from perfkit.loading import FastQuerySet

Rows = list[tuple[Any, ...]]


def raw_rows(queryset: QuerySet[Any]) -> tuple[Hydrator, Rows]:
    """Return the hydrator of a queryset and what the driver gives for it."""
    compiler = queryset.query.get_compiler(using=queryset.db)
    rows = list(chain.from_iterable(compiler.execute_sql(MULTI)))
    hydrator = hydrator_for(compiler, queryset._iterable_class)
    assert hydrator is not None
    return hydrator, rows


def hydrated(queryset: QuerySet[Any]) -> list[Any]:
    hydrator, rows = raw_rows(queryset)
    return hydrator(rows, connection)


def fast(queryset: QuerySet[Any]) -> FastQuerySet[Any]:
    """Return the same queryset, made here."""
    clone: Any = queryset._chain()
    copy: Any = FastQuerySet(queryset.model)
    vars(copy).update(vars(clone))
    return copy  # type: ignore[no-any-return]


def portrait(value: Any, seen: dict[int, int] | None = None) -> Any:
    """Return all that can be seen of a value; of an instance, also how its relations are tied together.

    A cache of relations that nobody has asked for is an empty one: Django makes it when it is asked for.
    """
    seen = {} if seen is None else seen
    if isinstance(value, list | QuerySet):
        return [portrait(each, seen) for each in value]
    if isinstance(value, dict):
        return (type(value), [(name, portrait(held, seen)) for name, held in value.items()])
    if not isinstance(value, Model):
        return (type(value), repr(value), value)
    if id(value) in seen:
        return ("seen as", seen[id(value)])
    seen[id(value)] = len(seen)
    state = [(name, held) for name, held in vars(value._state).items() if name != "fields_cache"]
    relations = [(name, portrait(held, seen)) for name, held in value._state.fields_cache.items()]
    columns = [(name, portrait(held, seen)) for name, held in vars(value).items() if name != "_state"]
    return (type(value), list(vars(value)), columns, relations, state, sorted(value.get_deferred_fields()))


def models_initialised(action: Callable[[], Any]) -> list[type[Model]]:
    """Return the models whose instances went through Django's `__init__` during `action`."""
    initialised: list[type[Model]] = []
    code = Model.__init__.__code__

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code is code:
            initialised.append(type(frame.f_locals["self"]))

    sys.setprofile(look)
    try:
        action()
    finally:
        sys.setprofile(None)
    return initialised
