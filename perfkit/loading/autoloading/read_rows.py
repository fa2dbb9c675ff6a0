"""Related rows of many parents, read by one query; each parent's become instances when it is asked for them."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.core.exceptions import EmptyResultSet
from django.db.models import F, Model, QuerySet
from django.db.models.query import ModelIterable

from perfkit.hydration import FETCH_MODE, ModelRows, answer_of, model_rows_for
from perfkit.loading.autoloading.peers import Group, mark

PARENT: Final = "autoload_parent"
"""The column that says whose a row is."""


@dataclass(eq=False)
class Batch:
    """The related rows of many parents, as one query answered them.

    The first parent that is asked for its rows gets instances of these alone, for it may be the only one.
    With the second, all become instances.

    Attributes:
        alias: The database they are from.
        make: Makes instances of rows.
        fetch_mode: What the instances get, from Django 6.1 on.
        parent_field: The foreign key that leads back to the parent, where there is one.
        group: All of them, for each other.
        waiting: Those that are no instances yet.
    """

    alias: str
    make: ModelRows
    fetch_mode: Any
    parent_field: Any
    group: Group = field(default_factory=Group)
    waiting: list[weakref.ref[ReadRows]] = field(default_factory=list)
    has_been_asked: bool = False

    def made(self) -> None:
        """Make instances of all that wait."""
        found = [rows for each in self.waiting if (rows := each()) is not None and rows.batch is not None]
        self.waiting = []
        self._make(found)

    def make_for(self, asking: ReadRows) -> None:
        """Make instances of the rows of one parent, or of all."""
        if self.has_been_asked:
            self.made()
        else:
            self.has_been_asked = True
            self._make([asking])

    def _make(self, found: list[ReadRows]) -> None:
        rows = [row for each in found for row in each.rows]
        objects: list[Any] = self.make(self.alias, rows, fetch_mode=self.fetch_mode)
        start = 0
        for each in found:
            end = start + len(each.rows)
            each.become(objects[start:end], self.parent_field)
            start = end
        mark(objects, self.group)


class ReadRows:
    """The related rows of one parent, which become instances when they are asked for.

    Args:
        rows: The driver's, converted; instances where there is no batch.
        parent: Whose they are. It has them, so that they must not have it.
    """

    __slots__ = ("__weakref__", "batch", "parent", "rows")

    def __init__(
        self, rows: list[Any], batch: Batch | None = None, parent: weakref.ref[Any] | None = None
    ) -> None:
        self.rows = rows
        self.batch = batch
        self.parent = parent

    def made(self) -> list[Any]:
        """Return the rows as instances."""
        if self.batch is not None:
            self.batch.make_for(self)
        return self.rows

    def become(self, objects: list[Any], parent_field: Any) -> None:
        """Be instances from now on, which know their parent."""
        self.rows, self.batch = objects, None
        parent = self.parent and self.parent()
        if parent_field is not None and parent is not None:
            for each in objects:
                if not parent_field.is_cached(each):
                    parent_field.set_cached_value(each, parent)


def read_for_all(
    queryset: QuerySet[Any],
    parents: Sequence[Model],
    *,
    lookup: str,
    value_of: Callable[[Model], Any],
    parent_field: Any,
) -> list[ReadRows] | None:
    """Return the related rows of each parent; None where Django has to load them.

    Args:
        queryset: The related rows of all parents.
        parents: Whose they are.
        lookup: Names a parent's value, from the related rows.
        value_of: Returns that value of a parent.
        parent_field: The foreign key that leads back to the parent, where there is one.

    Queries:
        One, or none.
    """
    if not _is_plain(queryset):
        return None
    alias = queryset.db
    compiler: Any = queryset.annotate(**{PARENT: F(lookup)}).query.get_compiler(using=alias)
    try:
        sql, params = compiler.as_sql()
    except EmptyResultSet:
        return [ReadRows([]) for _ in parents]
    place = compiler.annotation_col_map.pop(PARENT)
    rows = list(compiler.results_iter(answer_of(compiler, sql, params)))
    by_parent: defaultdict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        by_parent[row[place]].append(row)
    batch = Batch(
        alias,
        model_rows_for(compiler, len(rows), is_to_be_kept=True),
        getattr(queryset, "_fetch_mode", FETCH_MODE),  # only from Django 6.1
        parent_field,
    )
    found = [ReadRows(by_parent.get(value_of(parent), []), batch, weakref.ref(parent)) for parent in parents]
    batch.waiting = [weakref.ref(each) for each in found]
    batch.group.unmade = batch
    return found


def _is_plain(queryset: Any) -> bool:
    """Say whether the rows of a queryset stay what they are with one column more."""
    query = queryset.query
    iterable_class: Any = queryset._iterable_class  # noqa: SLF001  # no public name
    return getattr(iterable_class, "made_as", iterable_class) is ModelIterable and not (
        queryset._prefetch_related_lookups  # noqa: SLF001  # likewise
        or query.distinct
        or query.is_sliced
        or query.combinator
        or query.group_by
    )
