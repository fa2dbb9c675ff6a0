"""`bulk_copy_out`, and the way back: what is written is read again as it was."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
from typing import Any

import pytest
from django.core.exceptions import FieldError
from django.db import connection
from django.db.models import Count, F
from django.db.models.functions import Upper
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.bulk import bulk_copy_out, bulk_insert
from perfkit.bulk.files import csv_rows
from perfkit.bulk.plan import compile_plan
from perfkit.errors import UsageError
from tests.bulk.everything import ASCII_SAFE, IS_POSTGRESQL, JSON
from tests.testapp.bulk import City, Country, Filed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("countries")]

TEXT = (
    st.text(ASCII_SAFE, max_size=10) | st.sampled_from(["", "\\n", "\\.", 'a "b", c', "line\nbreak", " x "])
).filter(lambda text: text != "\\N")  # which stands for NULL
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "note": TEXT,
    "number": st.integers(-(2**31), 2**31 - 1),
    "ratio": st.floats(allow_nan=False, allow_infinity=False),
    "price": st.decimals(-999_999, 999_999, places=2),
    "flag": st.booleans(),
    "day": st.dates(dt.date(1000, 1, 1)),
    "moment": st.datetimes(dt.datetime(1000, 1, 1), timezones=st.just(dt.UTC)),  # noqa: DTZ001  # a zone is given
    "clock": st.times(),
    "span": st.timedeltas(dt.timedelta(days=-1000), dt.timedelta(days=1000)),
    "key": st.uuids(),
    "data": JSON.filter(lambda value: value is not None),
    "blob": st.binary(max_size=20),
    "country_id": st.sampled_from(["PE", "CL"]),
}


def stored() -> list[tuple[Any, ...]]:
    names = [field.attname for field in Filed._meta.concrete_fields if not field.primary_key]
    return [
        tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
        for row in Filed.objects.order_by("code").values_list(*names)
    ]


def written(queryset: Any, **options: Any) -> str:
    file = io.BytesIO()
    result = bulk_copy_out(queryset, file, **options)
    assert result.size_bytes == len(file.getvalue())
    return file.getvalue().decode()


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(
    rows=st.lists(
        st.fixed_dictionaries({}, optional={name: st.none() | values for name, values in VALUES.items()}),
        max_size=4,
    )
)
def test_what_is_written_is_read_again_as_it_was(rows: list[dict[str, Any]]) -> None:
    Filed.objects.all().delete()
    bulk_insert(Filed, ({"code": str(number)} | row for number, row in enumerate(rows)))
    expected = stored()
    text = written(Filed.objects.all(), null="\\N")
    Filed.objects.all().delete()
    result = bulk_insert(Filed, csv_rows(io.StringIO(text, newline=""), compile_plan(Filed), null="\\N"))
    assert result.rows == len(rows)
    assert stored() == expected


def test_it_writes_names_and_values() -> None:
    City.objects.create(name='Li "ma", x', country_id="PE", population=3)
    City.objects.create(name="", country_id="CL")
    rows = City.objects.order_by("pk")
    assert written(rows, fields=["name", "population"]) == 'name,population\n"Li ""ma"", x",3\n"",0\n'
    assert written(rows, fields=["country__code", "name"]).splitlines()[0] == "country__code,name"
    header, first, _ = csv.reader(io.StringIO(written(rows)))
    assert header == ["id", "name", "country_id", "population"]
    assert first[1:] == ['Li "ma", x', "PE", "3"]


def test_it_writes_what_the_queryset_says() -> None:
    for number in range(5):
        City.objects.create(name=f"n{number}", country_id="PE", population=number)
    sliced = City.objects.filter(population__gt=0).order_by("-population")[1:3]
    assert written(sliced, fields=["name"]) == "name\nn3\nn2\n"
    annotated = City.objects.annotate(loud=Upper("name"), more=F("population") + 1).order_by("pk")[:1]
    assert written(annotated, fields=["loud", "more"]) == "loud,more\nN0,1\n"
    grouped = Country.objects.annotate(cities_there=Count("cities")).order_by("code")
    assert written(grouped, fields=["code", "cities_there"]) == "code,cities_there\nCL,0\nPE,5\n"


@pytest.mark.parametrize("rows", [City.objects.none(), City.objects.filter(pk__in=[]), City.objects.all()])
def test_no_rows_are_a_file_of_names(rows: Any) -> None:
    file = io.BytesIO()
    assert bulk_copy_out(rows.all(), file).rows == 0
    assert file.getvalue() == b"id,name,country_id,population\n"


def test_it_writes_into_what_compresses() -> None:
    City.objects.create(name="Lima", country_id="PE")
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb") as file:
        assert bulk_copy_out(City.objects.all(), file, fields=["name"]).rows == 1
    assert gzip.decompress(buffer.getvalue()) == b"name\nLima\n"


@pytest.mark.skipif(not IS_POSTGRESQL, reason="PostgreSQL's format")
def test_a_binary_file_goes_back_by_copy() -> None:
    bulk_insert(City, ({"name": f"n{number}", "country_id": "PE"} for number in range(100)))
    file = io.BytesIO()
    result = bulk_copy_out(
        City.objects.order_by("pk"), file, file_format="binary", fields=["name", "country_id", "population"]
    )
    assert (result.rows, result.method) == (100, "copy")
    City.objects.all().delete()
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY testapp_city (name, country_id, population) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.write(file.getvalue())
    assert City.objects.count() == 100


@pytest.mark.skipif(IS_POSTGRESQL, reason="elsewhere there is none")
def test_a_binary_file_is_postgresqls() -> None:
    with pytest.raises(UsageError, match="PostgreSQL's own"):
        bulk_copy_out(City.objects.all(), io.BytesIO(), file_format="binary")


def test_it_refuses_what_is_not_there() -> None:
    with pytest.raises(UsageError, match="Did you mean 'csv'"):
        bulk_copy_out(City.objects.all(), io.BytesIO(), file_format="cvs")  # type: ignore[arg-type]
    with pytest.raises(FieldError, match="nmae"):
        bulk_copy_out(City.objects.all(), io.BytesIO(), fields=["nmae"])


def test_it_takes_values_of_users_as_parameters() -> None:
    City.objects.create(name="Lima", country_id="PE")
    assert written(City.objects.filter(name="x') TO PROGRAM 'id'; --"), fields=["name"]) == "name\n"


@pytest.mark.parametrize("logs", [False, True])
def test_it_writes_where_django_logs_statements_too(logs: bool) -> None:
    """As it does with DEBUG; by a cursor of another class."""
    country, _ = Country.objects.get_or_create(code="PE")
    bulk_insert(City, [{"name": name, "country": country} for name in ("100% 'x'", "%s", "other")])
    file = io.BytesIO()
    found = City.objects.filter(name__contains="%").order_by("name")
    connection.force_debug_cursor = logs
    try:
        assert bulk_copy_out(found, file, fields=["name"], null="%s").rows == 2
    finally:
        connection.force_debug_cursor = False
    names = csv.reader(io.StringIO(file.getvalue().decode()))
    assert sorted(name for (name,) in names) == ["%s", "100% 'x'", "name"]
