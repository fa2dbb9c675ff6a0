"""The SQL by which the columns of a queryset's rows are read, kept by what the queryset looks like.

# Note [What is kept of a statement]
Building the SQL takes Django longer than the database needs for a page of rows. Two querysets of one structure
(`perfkit.caching.structure`) differ in values alone. Some values change the text too: True and False, NULL in a
list, a number that no column of its type holds. So Django's own lookups are asked for their part of each
statement, and a text is kept for the parts that they gave; where rows begin and end stands outside of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from django.core.exceptions import FullResultSet
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Lookup, QuerySet
from django.db.models.expressions import Col
from django.db.models.lookups import IsNull
from django.db.models.sql import Query
from django.db.models.sql.where import AND, WhereNode

from perfkit.api.compiling.kinds import internal_type_of
from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.recorder import PartRead
from perfkit.caching.restrictions import Restriction, restriction_of
from perfkit.caching.structure import reach_of, structure_of
from perfkit.caching.tags import any_write_tag
from perfkit.hydration.converters import Converters, selected_expressions

MOST_STATEMENTS: Final = 2_000
"""Statements kept in a process; beyond, all are forgotten and made anew."""

LOOKUPS: Final = frozenset({"exact", "gt", "gte", "lt", "lte", "isnull"})
"""Django's lookups whose text does not depend on a value that is no bool, unless they find nothing at all."""

SAME_IN_BINARY: Final = frozenset(
    {"AutoField", "BigAutoField", "SmallAutoField", "IntegerField", "BigIntegerField", "SmallIntegerField"}
    | {"PositiveIntegerField", "PositiveBigIntegerField", "PositiveSmallIntegerField", "BooleanField"}
    | {"CharField", "TextField", "SlugField", "FloatField", "DateField", "UUIDField", "DecimalField"}
)
"""Fields whose values psycopg reads from PostgreSQL's binary form as it does from text, in less time."""

MOMENTS: Final = "DateTimeField"


@dataclass(frozen=True, slots=True)
class Statement:
    """A SELECT without its values.

    Attributes:
        sql: With `%s` for each value, and no LIMIT.
        converters: What becomes of the driver's values, None where they stay.
        may_be_prepared: Whether the database can tell the type of each value from where it stands.
        is_binary: Whether its columns may be read in binary; with moments only where the connection is in UTC.
        has_moments: Whether there are moments among them.
        restriction: What keeps it to some rows of its own table, as far as that is known.
    """

    sql: str
    converters: Converters | None
    may_be_prepared: bool
    is_binary: bool
    has_moments: bool
    restriction: Restriction | None = None


class Asked(NamedTuple):
    """A statement and its values, ready to be run on a database.

    Attributes:
        restricting: The values of its restriction, none where it leaves others too.
    """

    alias: str
    statement: Statement
    sql: str
    values: tuple[Any, ...]
    restricting: Sequence[object] = ()

    def part(self, scope: str) -> PartRead | None:
        """Return what it reads of its own table, None where that may be any row.

        Args:
            scope: What `perfkit.caching.databases.tag_scope` calls the database.
        """
        restriction = self.statement.restriction
        tags = restriction.tags(self.restricting, scope) if restriction and self.restricting else None
        if restriction is None or tags is None or not restriction.is_current:
            return None
        return PartRead(self.sql, any_write_tag(scope, restriction.table.name), *tags)


_kept: Final[dict[Any, Any]] = {}
_lock: Final = fork_safe_lock()


def asked_of(queryset: QuerySet[Any], columns: tuple[str, ...]) -> Asked:
    """Return the statement that reads columns of a queryset's rows.

    Args:
        columns: Paths, as `values_list()` takes them.

    Raises:
        EmptyResultSet: There can be no rows.
    """
    alias = queryset.db  # once: a router may choose another one each time
    connection = connections[alias]
    form = form_of(queryset, alias)
    if form is None:
        statement, values = made(queryset, columns, connection)
        return _limited(statement, values, queryset.query, connection)
    statement = kept(columns, form)
    if statement is None:
        statement, values = made(queryset, columns, connection)
        if values != form.values:  # some stand elsewhere than in the condition: nothing is known of others
            return _limited(statement, values, queryset.query, connection)
        statement = replace(statement, restriction=_restriction(queryset, columns))
        keep(columns, form, statement)
    return _limited(statement, form.values, queryset.query, connection)


class Form(NamedTuple):
    """What tells a queryset from others whose statement is another one, and the values of its condition."""

    alias: str
    skeleton: tuple[Any, ...]
    condition: Any
    values: tuple[Any, ...]


def form_of(queryset: QuerySet[Any], alias: str) -> Form | None:
    """Return the form of a queryset on a database, None where its statement cannot be kept.

    Raises:
        EmptyResultSet: There can be no rows.
    """
    query = queryset.query
    where = query.where
    if where.children and (where.contains_aggregate or where.contains_over_clause):
        return None
    structure = structure_of(query)
    if structure is None:
        return None
    condition, values = _condition(query, alias)
    return Form(alias, structure.skeleton, condition, values)


def kept(columns: Any, form: Form) -> Any:
    """Return what is kept of reading columns from the rows of a form."""
    return _kept.get((columns, *form[:3]))


def keep(columns: Any, form: Form, known: Any) -> None:
    """Keep it."""
    with _lock:
        if len(_kept) >= MOST_STATEMENTS:
            _kept.clear()
        _kept[columns, *form[:3]] = known


def forget_statements() -> None:
    """Forget all that is kept, as a process that has just started."""
    with _lock:
        _kept.clear()


def _condition(query: Query, alias: str) -> tuple[Any, tuple[Any, ...]]:
    """Return what tells the text of a query's condition from those of others of its structure, and its values."""
    where = query.where
    if not where.children:
        return (), ()
    compiler = query.get_compiler(connection=connections[alias])
    try:
        return _plain_condition(where, compiler) or _text(where, compiler)
    except FullResultSet:  # a part of it says nothing
        return _text(where, compiler)


def _plain_condition(where: WhereNode, compiler: Any) -> tuple[Any, tuple[Any, ...]] | None:
    """Return the same without compiling the condition, None where it has other parts than plain lookups."""
    if where.connector != AND or where.negated or not all(map(_is_plain, where.children)):
        return None
    form: list[Any] = []
    values: list[Any] = []
    for child in where.children:
        lookup: Any = child
        if type(lookup) is IsNull:
            form.append(lookup.rhs)
            continue
        text, params = lookup.process_rhs(compiler, compiler.connection)
        form.append(text)
        values += params
    return tuple(form), tuple(values)


def _text(where: WhereNode, compiler: Any) -> tuple[Any, tuple[Any, ...]]:
    try:
        text, params = compiler.compile(where)
    except FullResultSet:
        return "", ()
    return text, tuple(params)


def _is_plain(condition: Any) -> bool:
    return (
        isinstance(condition, Lookup)
        and condition.lookup_name in LOOKUPS
        and type(condition).__module__.startswith("django.db.models.")
        and type(condition.lhs) is Col
        and not hasattr(condition.rhs, "resolve_expression")
        and (type(condition.rhs) is not bool or type(condition) is IsNull)
    )


def made(
    queryset: QuerySet[Any],
    columns: tuple[str, ...],
    connection: BaseDatabaseWrapper,
    *,
    condition: WhereNode | None = None,
) -> tuple[Statement, tuple[Any, ...]]:
    """Have Django build the statement, without LIMIT, and return it with its values.

    Args:
        condition: The part of the queryset's whose values may be of any type; None for all of it.
    """
    if condition is None:
        condition = queryset.query.where
    chosen = _chosen(queryset, columns)
    compiler = chosen.query.get_compiler(connection=connection)
    sql, params = compiler.as_sql()
    converters = Converters(compiler)
    kinds = {internal_type_of(each.output_field) for each in selected_expressions(compiler)}
    statement = Statement(
        sql,
        converters if converters.is_needed else None,
        may_be_prepared=all(map(_can_be_typed, _leaves(condition))),
        is_binary=kinds <= SAME_IN_BINARY | {MOMENTS},
        has_moments=MOMENTS in kinds,
    )
    return statement, tuple(params)


def _restriction(queryset: QuerySet[Any], columns: tuple[str, ...]) -> Restriction | None:
    """Return what keeps the statement to some rows, where no column makes it look into the table once more."""
    query = _chosen(queryset, columns).query
    reach = reach_of(query)
    return None if reach.refusal else restriction_of(query, reach)


def _chosen(queryset: QuerySet[Any], columns: tuple[str, ...]) -> QuerySet[Any, Any]:
    """Return the columns of all rows, whichever slice of them is asked for."""
    if not queryset.query.is_sliced:
        return queryset.values_list(*columns)
    whole = queryset._chain()  # type: ignore[attr-defined]  # noqa: SLF001  # no public name
    whole.query.clear_limits()
    return whole.values_list(*columns)  # type: ignore[no-any-return]


def _leaves(where: WhereNode) -> Sequence[Any]:
    found: list[Any] = []
    for child in where.children:
        found += _leaves(child) if isinstance(child, WhereNode) else [child]
    return found


def _can_be_typed(condition: Any) -> bool:
    """Tell whether PostgreSQL knows the types of a condition's values where the text does not say them."""
    is_djangos = isinstance(condition, Lookup) and type(condition).__module__.startswith("django.db.models.")
    return is_djangos and type(condition.lhs) is Col and not hasattr(condition.rhs, "resolve_expression")


def _limited(
    statement: Statement, values: tuple[Any, ...], query: Query, connection: BaseDatabaseWrapper
) -> Asked:
    """Return the statement of the rows of a slice: how many stands in the text, where they begin is a value."""
    low, high = query.low_mark, query.high_mark
    sql = statement.sql
    limit = connection.ops.no_limit_value() if high is None and low else high and high - low
    if limit is not None:
        sql = f"{sql} LIMIT {limit}"
    if low:
        sql, values = f"{sql} OFFSET %s", (*values, low)
    restricting = () if statement.restriction is None else statement.restriction.values(query)
    return Asked(connection.alias, statement, sql, values, restricting)
