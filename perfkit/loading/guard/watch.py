"""Counts what is sent in one request, task or test, and says which of it is a loop."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from itertools import islice
from time import perf_counter
from types import FrameType
from typing import Any, Final

from django.db.models import ForeignKey
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor
from django.db.models.query import prefetch_one_level
from django.forms.models import ModelChoiceField, ModelMultipleChoiceField
from django.template.base import Node

from perfkit.errors import NPlusOneError
from perfkit.loading.guard.advice import advice
from perfkit.loading.guard.allowed import allowed_here, is_allowed, is_everything_allowed
from perfkit.loading.guard.findings import Finding
from perfkit.loading.guard.generic import generic_reader
from perfkit.loading.guard.statements import Statement, statement
from perfkit.loading.guard.touches import Touch, touch_of
from perfkit.watching import (
    Call,
    Landmarks,
    as_text,
    awaited_from,
    calls,
    normalised,
    path_here,
    quoted_names,
)

MOST_LINES: Final = 5
"""Own calls that a finding names."""

LANDMARKS: Final = Landmarks(
    marks=[ForwardManyToOneDescriptor.__get__.__code__],
    batches=[prefetch_one_level.__code__],
    objects=[
        each.__code__
        for each in (
            Node.render_annotated,
            ForeignKey.validate,
            ModelChoiceField.to_python,
            ModelMultipleChoiceField._check_values,  # type: ignore[attr-defined]  # noqa: SLF001  # what asks
        )
    ],
)
"""Marked is what reads a relation to one row, which Django keeps on the instance once it is read.

A path ends at what began the request or the task.
Nodes of a template, and fields of a form, are worked off by one line.
"""


reader = generic_reader()
if reader is not None:
    LANDMARKS.add(reader)


class Place:
    """One statement at the end of one path of calls.

    Attributes:
        statement: Its text without values.
        queries: How many times it was sent.
        distinct: How many of these differ in what a loop changes.
        seconds: How long they took.
        loop: What is known of it once it is one.
    """

    __slots__ = (
        "alias",
        "distinct",
        "instance",
        "is_left_alone",
        "loop",
        "queries",
        "seconds",
        "statement",
        "values",
    )

    def __init__(self, text: str, alias: str) -> None:
        self.statement = text
        self.alias = alias
        self.queries = 0
        self.distinct = 0
        self.seconds = 0.0
        self.values: set[int] = set()
        self.instance: weakref.ref[Any] | None = None
        self.loop: tuple[Touch, tuple[Call, ...]] | None = None
        self.is_left_alone = False

    def is_another(self, values: int, reader: FrameType | None) -> bool:
        """Say whether a statement with these values is for another row than those before.

        A foreign key is read once for each row that has it, whatever row it leads to.
        """
        is_new = values not in self.values
        if reader is not None:
            instance = reader.f_locals.get("instance")
            is_new = is_new or self.instance is None or self.instance() is not instance
            self.instance = weakref.ref(instance)
        self.values.add(values)
        return is_new

    def finding(self) -> Finding | None:
        """Return what was found, None where it is no loop, or one that is left alone."""
        if self.loop is None or self.is_left_alone:
            return None
        touch, lines = self.loop
        return Finding(
            kind=touch.kind,
            name=touch.name,
            lines=tuple(map(str, lines)),
            functions=tuple(line.function for line in lines),
            statement=normalised(self.statement, most=300, names=quoted_names(self.alias)),
            fix=advice(touch),
            queries=self.queries,
            milliseconds=round(self.seconds * 1000, 3),
        )


class Watch:
    """What was sent since a request, a task or a test began.

    Args:
        threshold: Executions for different rows that make a loop.
        raises: Whether the statement that makes it one is refused.
        gives_way: Whether a watch that is begun within it takes its place, as if nobody watched.
    """

    def __init__(self, *, threshold: int, raises: bool = False, gives_way: bool = False) -> None:
        self.threshold = threshold
        self.raises = raises
        self.gives_way = gives_way
        self._unit = 0
        self._places: dict[tuple[int, str, str, int, tuple[str, ...]], Place] = {}

    @property
    def findings(self) -> list[Finding]:
        """The loops that were found, in the order in which they began."""
        return [finding for place in self._places.values() if (finding := place.finding()) is not None]

    def begin_unit(self) -> None:
        """Begin to count anew: a statement of this request and one of the last are no loop."""
        self._unit += 1

    def run(self, execute: Callable[..., Any], sql: Any, params: Any, context: dict[str, Any]) -> Any:
        """Send one statement, and count it.

        Raises:
            NPlusOneError: It makes a loop, and the watch raises; the statement was not sent.
        """
        connection = context["connection"]
        try:
            text = sql if type(sql) is str else as_text(sql, connection)
            known = None if is_everything_allowed() else statement(text)
        except ValueError:  # only the connection itself can write it
            known = None
        if known is None:
            return execute(sql, params, False, context)
        place = self._counted(known, params, connection.alias)
        if place is None:
            return execute(sql, params, False, context)
        begun = perf_counter()
        result = execute(sql, params, False, context)
        place.seconds += perf_counter() - begun
        place.queries += 1
        return result

    def _counted(self, known: Statement, params: Any, alias: str) -> Place | None:
        """Return where the statement is counted; None where it is sent for many rows at once."""
        path = path_here(depth=3, landmarks=LANDMARKS)
        if path.is_batch:
            return None
        awaited = awaited_from()
        number = path.number if awaited is None else hash((path.number, awaited.number))
        key = (self._unit, alias, known.text, number, allowed_here())
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = Place(known.text, alias)
        if place.loop is None and place.is_another(known.values(params), path.marked):
            place.distinct += 1
            if place.distinct >= self.threshold:
                self._open(place, sys._getframe(1))  # noqa: SLF001  # the stack as it is
        return place

    def _open(self, place: Place, frame: FrameType) -> None:
        """Note that a place is in a loop."""
        touch = touch_of(frame.f_back)
        lines = tuple(islice(calls(frame), MOST_LINES))
        place.loop = (touch, lines)
        place.is_left_alone = is_allowed(touch.name, [*_functions(frame), *(line.function for line in lines)])
        finding = place.finding()
        if self.raises and finding is not None:
            raise NPlusOneError([str(finding)])


def _functions(frame: FrameType | None) -> list[str]:
    """Return the dotted names of all functions on the stack, libraries' too."""
    names: list[str] = []
    while frame is not None:
        names.append(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    return names
