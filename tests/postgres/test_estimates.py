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
