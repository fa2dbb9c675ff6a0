"""The proof: what `bulk_insert` writes reads back as what Django's own bulk_create writes."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.bulk import bulk_insert
from tests.bulk.everything import IS_POSTGRESQL, VALUES, stored
from tests.testapp.bulk import City, Everything, Subscriber

pytestmark = pytest.mark.django_db

ROWS = st.lists(
    st.fixed_dictionaries({}, optional={name: st.none() | values for name, values in VALUES.items()}),
    max_size=8,
)


@settings(
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(rows=ROWS, as_instances=st.booleans(), chunk_rows=st.integers(1, 9), return_ids=st.booleans())
@pytest.mark.usefixtures("countries")
def test_it_writes_what_bulk_create_writes(rows, as_instances, chunk_rows, return_ids):
    Everything.objects.all().delete()
    with transaction.atomic():
        Everything.objects.bulk_create([Everything(**row) for row in rows])
        expected = stored()
        Everything.objects.all().delete()
    given_rows = [Everything(**row) for row in rows] if as_instances else rows
    result = bulk_insert(Everything, iter(given_rows), chunk_rows=chunk_rows, return_ids=return_ids)
    assert stored() == expected
    assert result.rows == len(rows)
    if IS_POSTGRESQL and rows:
        assert result.method == "copy"
    if return_ids:
        assert result.ids == list(Everything.objects.order_by("pk").values_list("pk", flat=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.0, 1e308, 5e-324])
@pytest.mark.skipif(not IS_POSTGRESQL, reason="SQLite stores NaN as NULL")
def test_it_keeps_unusual_floats(value):
    bulk_insert(Everything, [{"real": value}])
    assert repr(Everything.objects.get().real) == repr(value)


@pytest.mark.skipif(not IS_POSTGRESQL, reason="the offset is PostgreSQL's to choose")
@pytest.mark.parametrize("hour", range(5))
@pytest.mark.parametrize("day", [dt.date(2013, 3, 10), dt.date(2013, 11, 3)])
def test_it_gives_naive_datetimes_the_offset_that_postgresql_gives(settings, day, hour):
    settings.USE_TZ = False
    settings.TIME_ZONE = "America/New_York"
    moment = dt.datetime.combine(day, dt.time(hour, 30))
    Everything.objects.bulk_create([Everything(moment=moment)])
    assert bulk_insert(Everything, [{"moment": moment}]).method == "copy"
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT moment) FROM testapp_everything")
        assert cursor.fetchone() == (1,)


def test_it_writes_json_with_the_fields_own_encoder():
    bulk_insert(Everything, [{"encoded": {"when": dt.date(2013, 1, 2), "much": Decimal("1.5")}}])
    assert Everything.objects.get().encoded == {"when": "2013-01-02", "much": "1.5"}


@pytest.mark.parametrize("return_ids", [False, True])
def test_lengths_are_those_that_the_database_has_a_type_for(return_ids):
    """A TextField's max_length is one of forms; spaces at the end do not count."""
    bulk_insert(Subscriber, [{"note": "longer than five"}], return_ids=return_ids)
    assert Subscriber.objects.get().note == "longer than five"
    City.objects.bulk_create([City(name="a" * 20 + "  ", country_id="PE")])
    expected = City.objects.get().name
    City.objects.all().delete()
    bulk_insert(City, [{"name": "a" * 20 + "  ", "country_id": "PE"}], return_ids=return_ids)
    assert City.objects.get().name == expected
    City.objects.all().delete()
