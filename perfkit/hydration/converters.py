"""What becomes of a driver's values before Django shows them: converters, and the tuples of composite keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField
from django.db.models.expressions import BaseExpression, ColPairs
from django.db.models.functions.datetime import TruncBase
from django.db.models.sql.compiler import SQLCompiler

Row = Sequence[Any]


class Converters:
    """Does to raw rows what `SQLCompiler.results_iter` does, on any connection of the compiler's vendor.

    Only the expressions whose columns have a converter are kept, because converters are called with them.
    The converters themselves are asked for at each use: those of a back end belong to one connection.
    """

    def __init__(self, compiler: SQLCompiler) -> None:
        expressions = selected_expressions(compiler)
        converters = compiler.get_converters(expressions)
        self._expressions = [(position, expression) for position, (_, expression) in converters.items()]
        self._tuples = [
            slice(position, position + len(expression))
            for position, expression in enumerate(expressions)
            if isinstance(expression, ColPairs)
        ]

    @property
    def is_needed(self) -> bool:
        """Whether any value becomes another one."""
        return bool(self._expressions or self._tuples)

    def __call__(self, rows: Iterable[Row], connection: BaseDatabaseWrapper) -> Iterable[Row]:
        """Return `rows` as Django shows them; the given ones are left as they are."""
        if self._expressions:
            rows = self._converted(rows, connection)
        if self._tuples:
            rows = self._with_tuples(rows)
        return rows

    def _converted(self, rows: Iterable[Row], connection: BaseDatabaseWrapper) -> Iterator[list[Any]]:
        steps = [
            (position, convert, expression)
            for position, expression in self._expressions
            for convert in (
                *connection.ops.get_db_converters(expression),
                *expression.get_db_converters(connection),
            )
        ]
        for row in map(list, rows):
            for position, convert, expression in steps:
                row[position] = convert(row[position], expression, connection)
            yield row

    def _with_tuples(self, rows: Iterable[Row]) -> Iterator[list[Any]]:
        for row in map(list, rows):
            for columns in self._tuples:  # each makes the row shorter, as the next one counts on
                row[columns] = [tuple(row[columns])]
            yield row


def selected_expressions(compiler: SQLCompiler) -> list[Any]:
    """Return the expressions of a compiled SELECT, without those that only its ORDER BY needs.

    Raises:
        ValueError: The compiler has not compiled.
    """
    if compiler.select is None:
        raise ValueError("What a compiler selects is known when it has compiled: call as_sql() first.")
    return [expression for expression, *_ in compiler.select[: compiler.col_count]]


def converts_by_parameters(expression: Any) -> bool:
    """Return whether what converts the values may depend on the query's parameters, and not on its shape alone.

    So it may wherever a class converts in a way of its own:
    `Trunc` to a moment makes it one of its time zone, which the SQL holds as a parameter.
    """
    if getattr(type(expression), "convert_value", None) is BaseExpression.convert_value:
        return False
    return not (isinstance(expression, TruncBase) and not isinstance(expression.output_field, DateTimeField))
