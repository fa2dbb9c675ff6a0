"""Loads related rows, their number, or whether there are any, for all rows that were read together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import router
from django.db.models import Count, Model, QuerySet, prefetch_related_objects

from perfkit.loading.autoloading.any_of import among
from perfkit.loading.autoloading.peers import take
from perfkit.loading.autoloading.read_rows import ReadRows, read_for_all
from perfkit.loading.autoloading.to_one import mark_by_model
from perfkit.loading.dependencies import tables_behind

CACHE: Final = "_prefetched_objects_cache"
"""Where Django keeps on an instance what was prefetched."""


Narrow = Callable[[QuerySet[Any], str, Sequence[Any]], QuerySet[Any]]


_tables: Final[dict[type, tuple[str, ...]]] = {}
"""What answers depend on, by the class of the related manager."""


@dataclass(frozen=True, slots=True)
class Question:
    """A relation of one instance to many rows, as its manager stands for it.

    Attributes:
        manager: The related manager, of the instance.
        unfiltered: Returns the manager's rows of all instances.
        name: The attribute of the relation.
    """

    manager: Any
    unfiltered: Callable[[], QuerySet[Any]]
    name: str

    @property
    def column(self) -> tuple[str, str] | None:
        """The lookup on the related rows that names the instance's, and the instance's attribute with its value.

        None where there is more than one.
        """
        manager = self.manager
        if hasattr(manager, "source_field"):  # many to many
            targets = manager.source_field.foreign_related_fields
            return (
                (f"{manager.query_field_name}__{targets[0].name}", targets[0].attname)
                if len(targets) == 1
                else None
            )
        if hasattr(manager, "object_id_field_name"):  # generic
            return manager.object_id_field_name, "pk"
        targets = manager.field.foreign_related_fields
        return (manager.field.attname, targets[0].attname) if len(targets) == 1 else None

    def rows(self) -> list[Any] | None:
        """Return the related rows of the instance; None where it has to ask by itself."""
        rows: ReadRows | None = self._taken("rows", self._rows_of)
        return None if rows is None else rows.made()

    def count(self) -> int | None:
        """Return how many related rows there are; None likewise."""
        return self._taken("count", self._counts_of)  # type: ignore[no-any-return]

    def exists(self) -> bool | None:
        """Return whether there is any; None likewise."""
        return self._taken("exists", self._existing_of)  # type: ignore[no-any-return]

    def _taken(self, what: str, load: Callable[[list[Any]], Sequence[Any] | None]) -> Any:
        column = self.column
        instance = self.manager.instance
        alias = self.manager._db or router.db_for_read(self.manager.model, instance=instance)
        if column is None or alias != instance._state.db:
            return None
        _, attribute = column
        answer = take(
            instance,
            f"{self.name}.{what}",
            asks_by=lambda row: getattr(row, attribute),
            tables=self._tables,
            load=load,
        )
        return None if answer is None else answer.value

    def _tables(self) -> tuple[str, ...]:
        """Return what an answer depends on."""
        cls = type(self.manager)
        found = _tables.get(cls)
        if found is None:
            through = getattr(self.manager, "through", None)
            own = () if through is None else (through._meta.db_table,)
            found = _tables[cls] = (*tables_behind(self.unfiltered()), *own)
        return found

    def _rows_of(self, parents: list[Model]) -> Sequence[ReadRows] | None:
        if not _is_the_same_for_all(self.unfiltered().query):
            return None
        lookup, attribute = self._column()
        to_python = self._to_python(lookup)
        found = read_for_all(
            self._of(parents, narrowed=among),
            parents,
            lookup=lookup,
            value_of=lambda parent: to_python(getattr(parent, attribute)),
            parent_field=self._parent_field(),
        )
        return found or [ReadRows(rows) for rows in self._prefetched(parents)]

    def _prefetched(self, parents: list[Model]) -> list[list[Any]]:
        """Have Django load the related rows of all parents, and leave no trace of it on them."""
        before = [dict(getattr(parent, CACHE, ())) for parent in parents]
        for parent in parents:
            vars(parent)[CACHE] = {}  # what was prefetched is not to be taken for what is asked now
        try:
            prefetch_related_objects(parents, self.name)
            found: list[list[Any]] = [list(next(iter(vars(parent)[CACHE].values()))) for parent in parents]
        finally:
            for parent, cache in zip(parents, before, strict=True):
                if cache:
                    vars(parent)[CACHE] = cache
                else:
                    del vars(parent)[CACHE]
        mark_by_model(row for rows in found for row in rows)
        return found

    def _parent_field(self) -> Any:
        """Return the field of the related rows that holds the instance; None where no one field does."""
        manager = self.manager
        has_other_way = hasattr(manager, "source_field") or hasattr(manager, "object_id_field_name")
        return None if has_other_way else manager.field

    def _counts_of(self, parents: list[Model]) -> list[int] | None:
        if not self._is_countable():
            return None
        lookup, attribute = self._column()
        values = self._of(parents).values_list(lookup).annotate(perfkit_count=Count("pk")).order_by()
        counts = dict(values)
        to_python = self._to_python(lookup)
        return [counts.get(to_python(getattr(parent, attribute)), 0) for parent in parents]

    def _existing_of(self, parents: list[Model]) -> list[bool] | None:
        if not self._is_countable():
            return None
        lookup, attribute = self._column()
        found = set(self._of(parents).values_list(lookup, flat=True).order_by().distinct())
        to_python = self._to_python(lookup)
        return [to_python(getattr(parent, attribute)) in found for parent in parents]

    def _of(self, parents: list[Model], *, narrowed: Narrow | None = None) -> QuerySet[Any]:
        """Return the related rows of all parents.

        Args:
            narrowed: Keeps a queryset to the rows that have one of some values; by `__in` where left out.
        """
        lookup, attribute = self._column()
        values = [getattr(parent, attribute) for parent in parents]
        queryset = self.unfiltered().using(self.manager.instance._state.db)
        queryset = (
            queryset.filter(**{f"{lookup}__in": values})
            if narrowed is None
            else narrowed(queryset, lookup, values)
        )
        if hasattr(self.manager, "content_type"):
            queryset = queryset.filter(
                **{f"{self.manager.content_type_field_name}__pk": self.manager.content_type.pk}
            )
        return queryset

    def _column(self) -> tuple[str, str]:
        column = self.column
        if column is None:
            raise LookupError(f"{self.name} goes by several columns.")
        return column

    def _to_python(self, lookup: str) -> Callable[[Any], Any]:
        """Return what makes of a parent's value that of the related rows, which may be text."""
        if not hasattr(self.manager, "content_type"):
            return lambda value: value
        to_python: Callable[[Any], Any] = self.manager.model._meta.get_field(lookup).to_python
        return to_python

    def _is_countable(self) -> bool:
        """Say whether rows may be counted by the instance they belong to, without asking for them."""
        query = self.unfiltered().query
        return not (
            query.is_sliced
            or query.distinct
            or query.combinator
            or query.annotations
            or query.extra
            or query.group_by
        )


def _is_the_same_for_all(query: Any) -> bool:
    """Say whether the rows of one parent are those that stand among the rows of many."""
    has_window = query.where.contains_over_clause or any(
        getattr(each, "contains_over_clause", False) for each in query.annotations.values()
    )
    return not (has_window or query.is_sliced or query.distinct_fields or query.combinator)
