"""What an upsert does with a row whose key the table has: which columns change, to what, and whether at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet, FieldError, FullResultSet
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Case, Value, When
from django.db.models.lookups import IsNull
from django.db.models.sql import Query

from perfkit.bulk.excluded import ExcludedColumn
from perfkit.bulk.plan import RowPlan
from perfkit.bulk.refusals import RowDataError
from perfkit.bulk.shapes import related_id
from perfkit.bulk.unique_keys import UniqueKey, key_named
from perfkit.errors import UsageError, nearest


class Clause(NamedTuple):
    """A piece of SQL with its parameters."""

    sql: str
    parameters: tuple[Any, ...] = ()


class AnyConflict:
    """Whatever unique constraint a row meets, it is left out."""

    key = UniqueKey((), has_equal_nulls=False)
    has_expressions = False

    def __init__(self, plan: RowPlan, connection: BaseDatabaseWrapper) -> None:
        self.plan = plan
        self.connection = connection

    def changed(self, given: tuple[int, ...]) -> tuple[int, ...]:  # as of `Conflict`
        """Nothing changes."""
        return ()

    def clause(self, changed: tuple[int, ...]) -> Clause:  # as of `Conflict`
        """Return the ON CONFLICT part of an INSERT."""
        return Clause("ON CONFLICT DO NOTHING")


class Conflict:
    """What happens to a row whose key the table has.

    Args:
        key: Names of the fields of one unique constraint.
        updates: Names of fields that take the row's values, or expressions by name;
            None for those that the row gives.
        where: Which rows of the table may change.
        skip_unchanged: Whether a row that would be as it was is left alone.

    Raises:
        UsageError: No unique constraint has these fields, or a name or an expression is wrong.
    """

    def __init__(
        self,
        plan: RowPlan,
        connection: BaseDatabaseWrapper,
        *,
        key: Sequence[str],
        updates: Sequence[str] | Mapping[str, Any] | None,
        where: models.Q | None,
        skip_unchanged: bool,
    ) -> None:
        self.plan = plan
        self.connection = connection
        self.key = key_named(plan, connection, key)
        self.where = where
        self.skip_unchanged = skip_unchanged
        self._clocks = [
            place
            for place, column in enumerate(plan.columns)
            if column.has_clock and getattr(column.field, "auto_now", False)
        ]
        self._named = None if updates is None else self._places_of(updates)
        self._expressions = dict(updates) if isinstance(updates, Mapping) else {}
        self._changed: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._clauses: dict[tuple[int, ...], Clause] = {}
        self.compiled_where, self.compiled_expressions = self._compiled()

    @property
    def has_expressions(self) -> bool:
        """Whether columns change to what only the database knows."""
        return bool(self._expressions)

    def changed(self, given: tuple[int, ...]) -> tuple[int, ...]:
        """Return the places of the columns that change, where a row gives those of `given`."""
        known = self._changed.get(given)
        if known is None:
            known = self._changed[given] = self._changes(given)
        return known

    def _changes(self, given: tuple[int, ...]) -> tuple[int, ...]:
        if self._named is not None:
            places = self._named
        else:
            kept = {*self.key.columns, *self.plan.pk_columns}
            columns = self.plan.columns
            places = [place for place in given if columns[place] not in kept and not columns[place].has_clock]
        return tuple(dict.fromkeys([*places, *self._clocks])) if places else ()

    def clause(self, changed: tuple[int, ...]) -> Clause:
        """Return the ON CONFLICT part of an INSERT that changes these columns."""
        known = self._clauses.get(changed)
        if known is None:
            known = self._clauses[changed] = self._clause(changed)
        return known

    def values_for_update(self, changed: Sequence[int], new: Mapping[int, Any]) -> dict[str, Any]:
        """Return what Django's `update` is to be given for one row: the same as the clause says.

        Args:
            new: The row's values by place.
        """
        replacements = self._replacements(new)
        values: dict[str, Any] = {}
        for place in changed:
            field = self.plan.columns[place].field
            expression = self._expressions.get(field.name, self._expressions.get(field.attname))
            if expression is None:
                values[field.attname] = new[place]
            else:
                resolved = expression.resolve_expression(
                    Query(self.plan.model), allow_joins=False, for_save=True
                )
                values[field.attname] = resolved.replace_expressions(replacements)
        return values

    def restricted(
        self, rows: models.QuerySet[Any], changed: Sequence[int], new: Mapping[int, Any]
    ) -> models.QuerySet[Any]:
        """Return those of `rows` that may change, for one row of the input."""
        if self.where is not None:
            clause = rows.query.build_where(self.where)
            rows = rows.all()
            rows.query.where.add(clause.replace_expressions(self._replacements(new)), "AND")
        if self.skip_unchanged:
            same = models.Q()
            for name, value in self.values_for_update(changed, new).items():
                if name not in self._clock_names:
                    same &= _is_same(name, value)
            differs = Case(When(same, then=Value(value=False)), default=Value(value=True))  # a NULL differs
            rows = rows.filter(differs)
        return rows

    @cached_property
    def _clock_names(self) -> set[str]:
        return {self.plan.columns[place].attname for place in self._clocks}

    def _replacements(self, new: Mapping[int, Any]) -> dict[Any, Any]:
        columns = self.plan.columns
        return {
            ExcludedColumn(columns[place].field): _as_expression(value, columns[place].field)
            for place, value in new.items()
        }

    def _places_of(self, names: Sequence[str] | Mapping[str, Any]) -> list[int]:
        if isinstance(names, str):
            raise UsageError("update_columns must be a list of names, as in update_columns=['name'].")
        places = []
        for name in names:
            place = self.plan.places.get(name)
            column = None if place is None else self.plan.columns[place]
            if place is None or column in self.plan.pk_columns or column in self.key.columns:
                known = [
                    each.field.name
                    for each in self.plan.columns
                    if each not in (*self.plan.pk_columns, *self.key.columns)
                ]
                raise UsageError(
                    f"update_columns names {name!r}, which bulk_upsert cannot change in {self.plan.label}."
                    f"{nearest(str(name), known)}"
                )
            places.append(place)
        return list(dict.fromkeys(places))

    def _compiled(self) -> tuple[Clause | None, dict[int, Clause]]:
        query: Query = Query(self.plan.model)
        compiler = query.get_compiler(connection=self.connection)
        where = None
        try:
            if self.where is not None:
                where = _condition(compiler, query.build_where(self.where))
            expressions = {}
            for name, expression in self._expressions.items():
                place = self.plan.places[name]
                assert place is not None  # noqa: S101  # `_places_of` refuses it
                if not hasattr(expression, "resolve_expression"):
                    expression = _given(self.plan.columns[place].field, expression)  # noqa: PLW2901
                    self._expressions[name] = expression
                resolved = expression.resolve_expression(query, allow_joins=False, for_save=True)
                sql, parameters = compiler.compile(resolved)
                expressions[place] = Clause(sql, tuple(parameters))
        except FieldError as error:
            raise UsageError(f"bulk_upsert of {self.plan.label}: {error}") from error
        return where, expressions

    def _clause(self, changed: tuple[int, ...]) -> Clause:
        quote = self.connection.ops.quote_name
        target = ", ".join(quote(column.name) for column in self.key.columns)
        if not changed:
            return Clause(f"ON CONFLICT ({target}) DO NOTHING")
        table = quote(self.plan.model._meta.db_table)
        names = {place: quote(self.plan.columns[place].name) for place in changed}
        new = {
            place: self.compiled_expressions.get(place) or Clause(f"EXCLUDED.{name}")
            for place, name in names.items()
        }
        sql = [f"ON CONFLICT ({target}) DO UPDATE SET"]
        sql.append(", ".join(f"{name} = {new[place].sql}" for place, name in names.items()))
        parameters = [each for place in names for each in new[place].parameters]
        conditions = [] if self.compiled_where is None else [self.compiled_where]
        compared = [place for place in names if place not in self._clocks]
        if self.skip_unchanged and compared:
            differs = "IS NOT" if self.connection.vendor == "sqlite" else "IS DISTINCT FROM"
            conditions.append(
                Clause(
                    f"({' OR '.join(f'{table}.{names[each]} {differs} {new[each].sql}' for each in compared)})",
                    tuple(value for each in compared for value in new[each].parameters),
                )
            )
        if conditions:
            sql.append("WHERE " + " AND ".join(each.sql for each in conditions))
            parameters += [value for each in conditions for value in each.parameters]
        return Clause(" ".join(sql), tuple(parameters))


def _condition(compiler: Any, where: Any) -> Clause | None:
    """Return the condition as SQL; None for one that always holds."""
    try:
        sql, parameters = compiler.compile(where)
    except EmptyResultSet:
        return Clause("1 = 0")
    except FullResultSet:
        return None
    return Clause(sql, tuple(parameters)) if sql else None


def _given(field: models.Field[Any, Any], value: Any) -> Any:
    """Return the expression of a plain value of `update_columns`: of a relation an instance too."""
    if isinstance(value, models.Model) and isinstance(field, models.ForeignKey):
        try:
            value = related_id(field, value, 0)
        except RowDataError as error:
            raise UsageError(f"update_columns: {field.name!r} {error.problem}") from None
    return _as_expression(value, field)


def _as_expression(value: Any, field: models.Field[Any, Any]) -> Any:
    if hasattr(value, "resolve_expression"):
        return value
    if value is None and isinstance(field, models.JSONField):
        return Value(None, output_field=models.TextField())  # NULL; of a JSONField it would be `null`
    return Value(value, output_field=field)


def _is_same(name: str, value: Any) -> models.Q:
    """Return the condition that a column has this value, where NULL equals NULL."""
    if value is None:
        return models.Q(**{f"{name}__isnull": True})
    same = models.Q(**{name: value})
    if hasattr(value, "resolve_expression"):
        same |= models.Q(**{f"{name}__isnull": True}) & models.Q(IsNull(value, rhs=True))
    return same
