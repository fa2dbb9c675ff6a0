"""PostgreSQL's COPY: what it tells outward, and when it leaves the work to INSERT."""

from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from perfkit.bulk import RowDataError, bulk_insert
from perfkit.signals import rows_written
from tests.testapp.bulk import City, Country, Everything, Keyed

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.postgres,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="COPY is PostgreSQL's"),
]


@pytest.fixture
def announced():
    heard = []

    def hear(sender, **arguments):
        del arguments["signal"]
        heard.append((sender, arguments, sender.objects.count(), connection.in_atomic_block))

    rows_written.connect(hear)
    yield heard
    rows_written.disconnect(hear)


def test_it_announces_its_rows_once_inside_the_transaction(announced):
    bulk_insert(Country, [{"code": each} for each in "abcde"], chunk_rows=2)
    assert announced == [(Country, {"using": "default", "operation": "insert", "pks": None}, 2, True)]


@pytest.mark.parametrize("rows", [[], [{"code": "too long"}]])
def test_it_announces_nothing_where_nothing_was_written(announced, rows):
    if rows:
        with pytest.raises(RowDataError):
            bulk_insert(Country, rows)
    else:
        bulk_insert(Country, rows)
    assert announced == []


@pytest.mark.parametrize("count", [1, 50])
def test_it_asks_as_much_for_one_row_as_for_fifty(count):
    Country.objects.create(code="PE")
    rows = [{"name": str(each), "country_id": "PE"} for each in range(count)]
    with transaction.atomic(), CaptureQueriesContext(connection) as captured:
        bulk_insert(City, rows)
    asked = [query["sql"].split()[0] for query in captured.captured_queries]
    assert asked == ["SAVEPOINT", "SELECT", "COPY", "RELEASE"]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE testapp_keyed ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE testapp_keyed ALTER name TYPE char(10)",
        "CREATE RULE doubled AS ON INSERT TO testapp_keyed DO ALSO NOTHING",
    ],
)
def test_it_inserts_where_copy_does_not_serve_the_table(change):
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(change)
        assert bulk_insert(Keyed, [{"name": "a"}]).method == "insert"
        assert Keyed.objects.count() == 1
        transaction.set_rollback(True)


def test_it_follows_the_tables_real_types():
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "ALTER TABLE testapp_everything ALTER small TYPE bigint, ALTER short TYPE varchar(7)"
            )
        assert bulk_insert(Everything, [{"small": 2**40, "short": "seven77"}]).method == "copy"
        assert Everything.objects.values_list("small", "short").get() == (2**40, "seven77")
        transaction.set_rollback(True)


def test_it_leaves_the_connection_usable_after_a_failure_in_autocommit():
    with pytest.raises(RowDataError):
        bulk_insert(Everything, [{"text": "a"}, {"text": "nul\0"}])
    assert not connection.in_atomic_block
    assert bulk_insert(Everything, [{"text": "b"}]).rows == 1
    assert list(Everything.objects.values_list("text", flat=True)) == ["b"]
