from __future__ import annotations

import pytest
from django.db import connection

from perfkit.postgres.estimates import estimated_rows

pytestmark = [pytest.mark.postgres, pytest.mark.django_db]


def test_it_tells_the_rows_of_the_last_analyze(django_assert_num_queries: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute('CREATE TABLE "Counted" AS SELECT generate_series(1, 1234) AS n')
        assert estimated_rows(connection, "Counted") is None
        cursor.execute('ANALYZE "Counted"')
    with django_assert_num_queries(1):
        assert estimated_rows(connection, "Counted") == 1234


def test_it_knows_nothing_of_a_table_that_is_not_there() -> None:
    assert estimated_rows(connection, "nowhere") is None


def test_it_adds_up_the_partitions_of_a_table() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE parted (n int) PARTITION BY RANGE (n)")
        for number in range(3):
            bounds = [number * 100, number * 100 + 100]
            cursor.execute(
                f"CREATE TABLE part{number} PARTITION OF parted FOR VALUES FROM (%s) TO (%s)", bounds
            )
        assert estimated_rows(connection, "parted") is None
        cursor.execute("INSERT INTO parted SELECT generate_series(0, 149)")
        cursor.execute("ANALYZE part0, part1")
        assert estimated_rows(connection, "parted") == 150
        cursor.execute("ANALYZE parted")
        assert estimated_rows(connection, "parted") == 150


def test_it_adds_up_the_children_of_a_table() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE parent AS SELECT generate_series(1, 10) AS n")
        cursor.execute("CREATE TABLE child () INHERITS (parent)")
        cursor.execute("INSERT INTO child SELECT generate_series(1, 5)")
        cursor.execute("ANALYZE parent, child")
    assert estimated_rows(connection, "parent") == 15
