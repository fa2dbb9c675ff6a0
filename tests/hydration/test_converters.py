from __future__ import annotations

import copy
from typing import Any

import pytest
from django.db import connection, connections
from django.db.models import CharField, DateTimeField, ExpressionWrapper, F, QuerySet, Value
from django.db.models.expressions import Col
from django.db.models.functions import TruncDate, TruncHour, TruncMonth, TruncTime, Upper

from perfkit.hydration.converters import Converters, converts_by_parameters
from tests.hydration.comparison import raw_rows
from tests.testapp.bulk import City, Custom, Everything
from tests.testapp.hydration import Square

pytestmark = pytest.mark.django_db


def converters_of(queryset: QuerySet[Any]) -> Converters:
    compiler = queryset.query.get_compiler("default")
    compiler.as_sql()
    return Converters(compiler)


def test_rows_without_converters_are_given_back_as_they_are() -> None:
    rows = [(1, "Rome", "IT", 3)]

    assert converters_of(City.objects.all())(rows, connection) is rows


def test_it_keeps_the_expressions_of_converted_columns_alone() -> None:
    converters = converters_of(
        Custom.objects.annotate(known=Upper(Value("secret"), output_field=CharField()))
    )

    [(position, expression)] = converters._expressions
    assert position == 2
    assert isinstance(expression, Col)


def test_it_converts_with_the_connection_it_is_given() -> None:
    given: list[Any] = []

    def doubled(value: int, expression: Any, used: Any) -> int:
        given.append(used)
        return value * 2

    class Doubling(type(connection.ops)):  # type: ignore[misc]
        def get_db_converters(self, expression: Any) -> list[Any]:
            return [*super().get_db_converters(expression), doubled]

    other = copy.copy(connections["default"])
    other.ops = Doubling(other)
    convert = converters_of(Custom.objects.all())

    # The column's own converter comes after that of the back end: 125 cents doubled.
    assert list(convert([(1, "CUSTOM", 125)], other)) == [[1, "CUSTOM", 2.5]]
    assert given == [other]
    assert list(convert([(1, "CUSTOM", 125)], connection)) == [[1, "CUSTOM", 1.25]]


def test_it_leaves_the_rows_as_they_are(oddities: None) -> None:
    hydrator, rows = raw_rows(Everything.objects.order_by("pk"))
    kept = [list(row) for row in rows]
    before = repr(kept)

    hydrator(kept, connection)

    assert repr(kept) == before


def test_composite_keys_become_tuples_wherever_they_stand() -> None:
    converters = converters_of(Square.objects.values_list("piece", "pk", "row"))
    twice = converters_of(Square.objects.annotate(day=Value(1)).values_list("pk", "day", "column"))

    assert list(converters([("rook", 1, 2, 2)], connection)) == [["rook", (1, 2), 2]]
    assert list(twice([(1, 2, 1, 1)], connection)) == [[(1, 2), 1, 1]]


@pytest.mark.parametrize(
    ("expression", "is_so"),
    [
        (F("moment"), False),
        (TruncDate("moment"), False),
        (TruncTime("moment"), False),
        (TruncMonth("day"), False),
        (TruncMonth("moment"), True),
        (TruncHour("moment"), True),
        (ExpressionWrapper(TruncMonth("moment"), output_field=DateTimeField()), False),
    ],
)
def test_a_moment_in_a_time_zone_converts_by_the_querys_parameters(expression: Any, is_so: bool) -> None:
    resolved = expression.resolve_expression(Everything.objects.all().query)

    assert converts_by_parameters(resolved) is is_so
