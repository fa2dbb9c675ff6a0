"""The statements of keyset pages, kept by what the queryset looks like: from a cursor to SQL without building any.

See Note [Segments] in `perfkit.paging.segments`: a page may take several statements, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import QuerySet, Value

from perfkit.api.compiling.fetching import Row
from perfkit.api.compiling.statements import Asked, Form, Statement, asked_of, form_of, keep, kept, made
from perfkit.api.keysets.pages import Walk, segments
from perfkit.paging.cursors import Place
from perfkit.paging.keys import SortKey, keyed

WALK: Final = "walk"


class Slot(NamedTuple):
    """Stands for the value of a key, in the values of a statement."""

    number: int


class SlotValue(Value):
    """Compiles to the slot of a key, which takes the value of each cursor."""

    def as_sql(
        self, compiler: Any, connection: Any
    ) -> Any:  # Django's own says the values are texts or numbers
        """Return a placeholder, and the slot in the place of a value."""
        return "%s", [Slot(self.value)]


class Segment(NamedTuple):
    """A statement, and which keys' values stand behind those of the queryset's own condition."""

    statement: Statement
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Steps:
    """How the rows from a place on are read, for the querysets of one form.

    Attributes:
        keys: Of the order.
        columns: That are read; those of the keys at their end, where a row does not show them anyway.
        values_of: Tells what a row has for the keys.
        known: By the direction, and by which keys have no value at the place: the segments; None where the
            statements depend on more than these.
    """

    keys: tuple[SortKey, ...]
    columns: tuple[str, ...]
    values_of: Callable[[Row], tuple[Any, ...]]
    known: dict[Any, tuple[Segment, ...] | None] = field(default_factory=dict)


class Way(NamedTuple):
    """The steps from any place of one queryset."""

    alias: str
    steps: Steps
    queryset: QuerySet[Any]
    form: Form | None

    def segments(self, walk: Walk) -> Iterator[Asked]:
        """Yield the statements that read the rows from the walk's place on."""
        place = walk.place
        keys, values = self.steps.keys, place.values
        pattern = place.is_backward, None if values is None else tuple([value is None for value in values])
        if pattern not in self.steps.known:
            self.steps.known[pattern] = _learnt(self, place)
        known = self.steps.known[pattern]
        if known is None or self.form is None:
            yield from self._built(walk)
            return
        limit = f" LIMIT {walk.wanted}"
        for statement, slots in known:
            params = self.form.values
            if slots:
                assert values is not None  # noqa: S101  # else there would be none
                connection = connections[self.alias]
                params += tuple(
                    [keys[each].field.get_db_prep_value(values[each], connection) for each in slots]
                )
            yield Asked(self.alias, statement, statement.sql + limit, params)

    def _built(self, walk: Walk) -> Iterator[Asked]:
        ordered, keys = keyed(self.queryset.using(self.alias))
        for segment in segments(ordered, keys, walk.place):
            try:
                yield asked_of(segment[: walk.wanted], self.steps.columns)
            except EmptyResultSet:
                continue


def way_of(queryset: QuerySet[Any], columns: tuple[str, ...]) -> Way:
    """Return how the columns of a queryset's rows are read from any place in its order.

    Raises:
        KeysetOrderError: As `perfkit.api.keysets.keyset`.
    """
    alias = queryset.db  # once: a router may choose another one each time
    try:
        form = form_of(queryset, alias)
    except EmptyResultSet:
        form = None
    steps = None if form is None else kept((WALK, columns), form)
    if steps is None:
        _, keys = keyed(queryset.using(alias))
        steps = _steps(keys, columns)
        if form is not None:
            keep((WALK, columns), form, steps)
    return Way(alias, steps, queryset, form)


def _steps(keys: tuple[SortKey, ...], columns: tuple[str, ...]) -> Steps:
    read = tuple(dict.fromkeys([*columns, *[key.name for key in keys]]))
    first, *others = [read.index(key.name) for key in keys]
    if others:
        return Steps(keys, read, itemgetter(first, *others))
    return Steps(keys, read, lambda row: (row[first],))


def _learnt(way: Way, place: Place) -> tuple[Segment, ...] | None:
    """Return the segments of all places that are like this one, None where they depend on more."""
    if way.form is None:
        return None
    ordered, keys = keyed(way.queryset.using(way.alias))
    values = place.values
    if values is not None:
        values = tuple(
            [
                None if value is None else SlotValue(number, output_field=key.field)
                for number, (key, value) in enumerate(zip(keys, values, strict=True))
            ]
        )
    found = []
    for segment in segments(ordered, keys, place._replace(values=values)):
        statement, params = made(
            segment,
            way.steps.columns,
            connections[way.alias],
            condition=way.queryset.query.where,  # what is compared with a column is of its type
        )
        own = len(way.form.values)
        slots = params[own:]
        if params[:own] != way.form.values or not all(isinstance(each, Slot) for each in slots):
            return None
        found.append(Segment(statement, tuple([each.number for each in slots])))
    return tuple(found)
