"""The proof: what `bulk_insert` writes reads back as what Django's own bulk_create writes."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.bulk import bulk_insert
from tests.testapp.bulk import Country, Everything

pytestmark = pytest.mark.django_db

IS_POSTGRESQL = connection.vendor == "postgresql"
ASCII_SAFE = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
DATES = st.dates(dt.date(1, 1, 2), dt.date(9999, 12, 30))
MOMENTS = st.datetimes(dt.datetime(1, 1, 3), dt.datetime(9999, 12, 29))  # noqa: DTZ001  # zones are added
ZONES = st.sampled_from(
    [dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=45)), dt.timezone(dt.timedelta(hours=-8))]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(ASCII_SAFE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(ASCII_SAFE), inner, max_size=3),
    max_leaves=5,
)
FLOATS = st.floats(allow_nan=False)  # NaN is not equal to itself; SQLite makes it NULL


def integers(bits: int) -> st.SearchStrategy[Any]:
    whole = st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return whole | whole.map(str) | st.booleans()


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "small": integers(16),
    "whole": integers(32) | st.floats(-1e6, 1e6),
    "big": integers(64),
    "positive": st.integers(0, 2**31 - 1),
    "rank": st.sampled_from(Everything.Rank),
    "size": st.sampled_from(Everything.Size) | st.sampled_from("sl"),
    "short": st.text(ASCII_SAFE, max_size=5) | st.integers(0, 99_999),
    "slug": st.text("abc-_", max_size=50),
    "text": st.text(ASCII_SAFE) | st.sampled_from(["\\N", "\\.", "NULL"]),
    "flag": st.booleans() | st.sampled_from([0, 1, "t", "False"]),
    "real": FLOATS | st.integers(-(2**53), 2**53),
    "money": st.decimals(-999_999, 999_999, places=2) | st.decimals(-9, 9, places=4) | st.integers(-99, 99),
    "day": DATES | MOMENTS.map(lambda each: each.replace(tzinfo=dt.UTC)) | DATES.map(str),
    "clock": st.times(),
    "moment": st.builds(lambda moment, zone: moment.replace(tzinfo=zone), MOMENTS, ZONES),
    "span": st.timedeltas(dt.timedelta(days=-10_000), dt.timedelta(days=10_000)),
    "key": st.uuids() | st.uuids().map(str),
    "document": JSON,
    "encoded": DATES | st.decimals(-9, 9, places=2) | JSON,
    "blob": st.binary() | st.binary().map(bytearray) | st.binary().map(memoryview),
    "address": st.ip_addresses().map(str),
    "country_id": st.sampled_from(["PE", "CL"]),
}
ROWS = st.lists(
    st.fixed_dictionaries({}, optional={name: st.none() | values for name, values in VALUES.items()}),
    max_size=8,
)


def stored() -> list[tuple[Any, ...]]:
    names = [field.attname for field in Everything._meta.concrete_fields if not field.primary_key]
    return [
        tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
        for row in Everything.objects.order_by("pk").values_list(*names)
    ]


@pytest.fixture
def countries():
    Country.objects.bulk_create([Country(code="PE"), Country(code="CL")])


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
