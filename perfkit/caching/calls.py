"""Calls of a queryset's methods, written down instead of carried out.

# Note [Querysets that are not built]
Django takes longer to build a queryset than the cache to find its answer.
A call is carried out the first time: Django refuses what is wrong with it, and what it has made shows whether
the call would do the same with other values of the same types. Where it would, later ones are only written down.
The query is built from what is written as soon as anybody asks for it: the database, a method that is not known
here, a project's own code. What it yields is the same, and so are its key and its tags.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

from django.db.models import Lookup, Model, QuerySet
from django.db.models.expressions import Col
from django.db.models.sql import Query
from django.db.models.sql.where import WhereNode

from perfkit.caching.locks import fork_safe_lock

Value = int | str | datetime.date | uuid.UUID
Call = tuple[str, tuple[Any, ...]]
"""A method's name; then of a filter the keywords, each with the type of its value, of others the arguments."""

UsedLookup = tuple[Any, str, type]
"""A field, the name of a lookup, and the class that stands for it there."""

MOST_CALLS: Final = 2_000
"""Sequences of calls known in a process; beyond, all are forgotten and learnt anew."""

INTEGERS: Final = frozenset(
    f"{size}{kind}" for kind in ("AutoField", "IntegerField") for size in ("", "Big", "Small")
) | {"PositiveIntegerField", "PositiveBigIntegerField", "PositiveSmallIntegerField"}
FIELDS: Final[Mapping[type, frozenset[str]]] = {
    int: INTEGERS,
    str: frozenset({"CharField", "TextField", "SlugField"}),
    datetime.date: frozenset({"DateField"}),
    uuid.UUID: frozenset({"UUIDField"}),
}
"""By the type of a value, what Django's own fields must be called to take each as it is."""

CONDITIONS: Final = frozenset({"filter", "exclude"})

LOOKUPS: Final = frozenset(
    {"exact", "iexact", "gt", "gte", "lt", "lte", "contains", "icontains", "startswith", "istartswith"}
    | {"endswith", "iendswith", "isnull"}
)
"""Conditions whose form does not depend on the value, unless it is a constant: those are part of a call."""


class Unbuilt(NamedTuple):
    """Stands for a query: calls, and the values they were made with."""

    calls: Calls
    values: tuple[Value, ...]

    def build(self) -> Query:
        """Return the query that Django makes of the calls."""
        values = iter(self.values)
        queryset: QuerySet[Any] = QuerySet(self.calls.model)
        for method, form in self.calls.made:
            if (method, form) == SLICE:
                low, high = next(values), next(values)
                queryset = queryset[low:high]
            elif method in CONDITIONS:
                queryset = getattr(queryset, method)(**_with_values(form, values))
            else:
                queryset = getattr(queryset, method)(*form)
        return queryset.query

    def __deepcopy__(self, memo: object) -> Self:
        """Return this: nothing in it changes."""
        return self

    def learn(self, call: Call, values: tuple[Value, ...], query: Query) -> None:
        """Take note of the query that Django has made of one call more, unless it is known already."""
        calls = self.calls
        if call in calls.known:
            return
        made = (*calls.made, call)
        found = list(_conditions(query.where))
        is_plain = call[0] not in CONDITIONS or _are_plain(found, made, self.values + values)
        lookups = (
            {(each.lhs.output_field, each.lookup_name, type(each)) for each in found} if is_plain else ()
        )
        following = Calls(calls.model, made, lookups)
        calls.learn(call, following if is_plain and following.are_as_learnt else None)

    def after(self, call: Call, values: tuple[Value, ...]) -> Unbuilt | None:
        """Return this with one call more, None where that has to be carried out."""
        calls = self.calls.known.get(call)
        return None if calls is None else Unbuilt(calls, self.values + values)


class Calls:
    """A sequence of calls, whatever the values.

    Args:
        made: The calls, from the first.

    Attributes:
        known: By one call more, the sequence with it; None where that has to be carried out.
        kept: What `queries` knows of them.
    """

    __slots__ = ("_generation", "_lookups", "kept", "known", "made", "model")

    def __init__(
        self, model: type[Model], made: tuple[Call, ...] = (), lookups: Iterable[UsedLookup] = ()
    ) -> None:
        self.model = model
        self.made = made
        self.known: dict[Call, Calls | None] = {}
        self.kept: Any = None
        self._lookups = tuple(lookups)
        self._generation = _generation

    def learn(self, call: Call, following: Calls | None) -> None:
        """Keep what one call more leads to, in the place of older things where there are too many."""
        global _generation, _number  # noqa: PLW0603  # of all in the process
        with _lock:
            if _number >= MOST_CALLS:
                _roots.clear()
                _number = 0
                _generation += 1
            if self._generation != _generation:  # somebody has held it while all were forgotten
                self.known.clear()
                self._generation = _generation
            _number += 1
            self.known.setdefault(call, following)

    @property
    def are_as_learnt(self) -> bool:
        """Whether Django would make the same conditions now: a project may register other lookups at any time."""
        return all(field.get_lookup(name) is lookup for field, name, lookup in self._lookups)

    @property
    def is_sliced(self) -> bool:
        """Whether Django takes no further call that changes the query."""
        return bool(self.made) and self.made[-1] == SLICE


SLICE: Final[Call] = ("__getitem__", ())
"""Its values are the first row and the one after the last."""


def root_of(model: type[Model]) -> Unbuilt:
    """Return what stands for all rows of a model."""
    root = _roots.get(model)
    return _roots.setdefault(model, Unbuilt(Calls(model), ())) if root is None else root


def conditions(kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], tuple[Value, ...]] | None:
    """Return the form of a filter, and the values in it; None where one is not plain."""
    form: list[tuple[str, Any]] = []
    values: list[Any] = []
    for name, value in kwargs.items():
        kind = type(value)
        if name.startswith("_"):
            return None  # it is no field's, but an argument of `Q`
        if kind in FIELDS:
            form.append((name, kind))
            values.append(value)
        elif kind is bool or value is None:
            form.append((name, value))  # part of the call, for the condition may take another form with it
        else:
            return None
    return tuple(form), tuple(values)


def _with_values(form: tuple[tuple[str, Any], ...], values: Iterator[Value]) -> dict[str, Any]:
    return {name: next(values) if kind in FIELDS else kind for name, kind in form}


def _are_plain(found: Sequence[Any], made: Iterable[Call], values: Iterable[Value]) -> bool:
    """Say whether the calls make the same conditions with all values of these types, and these as they are."""
    given: list[Value] = []
    left = iter(values)
    for method, form in made:
        kept = _with_values(form, left) if method in CONDITIONS else {}
        given += [kept[name] for name in sorted(kept) if type(kept[name]) in FIELDS]  # as `Q` has them
    taken = [
        condition.rhs for condition in found if isinstance(condition, Lookup) and not _is_constant(condition)
    ]
    return all(map(_has_one_form, found)) and are_same(taken, given)


def _conditions(where: WhereNode) -> Iterator[Any]:
    for child in where.children:
        if isinstance(child, WhereNode):
            yield from _conditions(child)
        else:
            yield child


def _has_one_form(condition: Any) -> bool:
    """Say whether a condition is one of Django's on a column, with a value that the column takes as it is."""
    if not isinstance(condition, Lookup) or condition.lookup_name not in LOOKUPS:
        return False
    if not _is_djangos(condition) or type(condition.lhs) is not Col:
        return False
    field: Any = condition.lhs.output_field
    while field.is_relation and _is_djangos(field):
        field = field.target_field
    is_taken = condition.lookup_name != "isnull" and field.get_internal_type() in FIELDS.get(
        type(condition.rhs), ()
    )
    return _is_djangos(field) and (is_taken or _is_constant(condition))


def _is_constant(condition: Lookup[Any]) -> bool:
    return type(condition.rhs) is bool or condition.rhs is None


def _is_djangos(part: object) -> bool:
    return type(part).__module__.startswith("django.db.models.")


def are_same(values: Sequence[object], others: Sequence[object]) -> bool:
    """Say whether values are equal and of the same types: 1 and True are not the same."""
    return list(map(type, values)) == list(map(type, others)) and list(values) == list(others)


_roots: Final[dict[type[Model], Unbuilt]] = {}
_number = 0
_generation = 0
_lock: Final = fork_safe_lock()


def forget_calls() -> None:
    """Forget all that was learnt, as a process that has just started."""
    global _generation, _number  # noqa: PLW0603  # of all in the process
    with _lock:
        _roots.clear()
        _number = 0
        _generation += 1
