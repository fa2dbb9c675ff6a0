"""Which rows of its own table a query is kept to: those with one key, or with some values of a declared column.

Its answer then depends on these rows instead of on all of the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models.expressions import Col
from django.db.models.fields.related_lookups import RelatedExact, RelatedIn, RelatedIsNull
from django.db.models.lookups import Exact, In, IntegerFieldExact, IsNull
from django.db.models.sql import Query
from django.db.models.sql.datastructures import BaseTable
from django.db.models.sql.where import AND

from perfkit.caching.reach import Reach
from perfkit.caching.registry import DeclaredColumn, TrackedTable, plain_table_name, tracked_tables
from perfkit.caching.tags import any_write_tag, row_tag, table_tag, value_tag

EXACT: Final = frozenset({Exact, IntegerFieldExact, RelatedExact})
IN: Final = frozenset({In, RelatedIn})
IS_NULL: Final = frozenset({IsNull, RelatedIsNull})
MOST_VALUES: Final = 20
"""An answer for more values depends on the whole table: asking for so many tokens would cost more."""


@dataclass(frozen=True, slots=True)
class Restriction:
    """A condition that every row of the answer fulfils, in all queries of one structure.

    Args:
        position: Of the condition, among those that are joined by AND.
        table: The query's own.
        column: None for its primary key.
    """

    position: int
    table: TrackedTable
    column: DeclaredColumn | None

    @property
    def is_current(self) -> bool:
        """Whether writes to the table still tell of the column."""
        table = tracked_tables().get(self.table.name)
        if table is None or table is self.table:
            return table is not None
        if self.column is None:
            return (table.pk_column, table.to_pk) == (self.table.pk_column, self.table.to_pk)
        return self.column in table.declared

    def values(self, query: Query) -> Sequence[object]:
        """Return the values that the condition leaves in a query, none where it leaves others too."""
        return _values_of(query.where.children[self.position])

    def tags(self, values: Sequence[object], scope: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        """Return what an answer with rows depends on in the query's own table, and one without rows besides.

        None where the values name no rows: the answer depends on all of them.

        Args:
            values: Those that the condition leaves.
            scope: What `databases.tag_scope` calls the database.
        """
        name = self.table.name
        whole = table_tag(scope, name)
        if self.column is None:
            key = self.table.to_pk(values[0]) if len(values) == 1 else None
            return (
                None if key is None else ((row_tag(scope, name, key), whole), (any_write_tag(scope, name),))
            )
        keys = [None if value is None else self.column.to_key(value) for value in values]
        if not keys or any(
            key is None and value is not None for key, value in zip(keys, values, strict=True)
        ):
            return None
        return (*[value_tag(scope, name, self.column.name, key) for key in keys], whole), ()


def restriction_of(query: Query, reach: Reach) -> Restriction | None:
    """Return what keeps a query to some rows of its own table, None where nothing does.

    So it is where the query looks into the table a second time, in a join or in a subquery.
    """
    own, join = next(iter(query.alias_map.items()), ("", None))
    if type(join) is not BaseTable or not query.alias_refcount[own]:
        return None
    table = tracked_tables().get(plain_table_name(join.table_name))
    where = query.where
    if table is None or table.name in reach.repeated or where.connector != AND or where.negated:
        return None
    columns = {column.name: column for column in table.declared}
    found = None
    for position, condition in enumerate(where.children):
        name = _column_of(condition, own)
        if (
            name == table.pk_column and query.group_by is None
        ):  # a group may have a row though the table has none
            return Restriction(position, table, None)
        if found is None and name in columns:
            found = Restriction(position, table, columns[name])
    return found


def _column_of(condition: Any, alias: str) -> str | None:
    """Return the column of a table that a condition compares with values, None where it is another condition."""
    if type(condition) not in EXACT | IN | IS_NULL or type(condition.lhs) is not Col:
        return None
    if condition.lhs.alias != alias or getattr(condition, "bilateral_transforms", None):
        return None
    return str(condition.lhs.target.column)


def _values_of(condition: Any) -> list[object]:
    """Return the values that a condition leaves, an empty list where it leaves others too."""
    kind, given = type(condition), condition.rhs
    if kind in IS_NULL:
        return [None] if given is True else []
    if kind in EXACT:
        return [] if given is None else [given]
    is_short = isinstance(given, Iterable) and not isinstance(given, str) and not hasattr(given, "query")
    values = list(given) if is_short else []
    return [value for value in values if value is not None] if len(values) <= MOST_VALUES else []
