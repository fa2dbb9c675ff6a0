from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Callable
from decimal import Decimal

import pytest
from django.db import connection, models
from django.db.models import F, Q

from perfkit.watching import fingerprint
from perfkit.workload.samples import sample_of
from tests.testapp.bulk import City, Country, Everything

NOW = dt.datetime(2013, 7, 22, 13, 5, 7, 123456, tzinfo=dt.UTC)
KEY = uuid.UUID("8c6c9f6e-3f6d-4d7c-9b59-2a6f1f4b7f10")

QUERIES: dict[str, Callable[[], models.QuerySet]] = {
    "text with quotes": lambda: Everything.objects.filter(text='O\'Hare \\ "x" %s %% ü ?'),
    "like": lambda: Everything.objects.filter(text__startswith="O'Ha"),
    "ilike": lambda: Everything.objects.filter(text__icontains="HARE"),
    "whole": lambda: Everything.objects.filter(whole=-7, big=2**62),
    "flag": lambda: Everything.objects.filter(flag=True),
    "real": lambda: Everything.objects.filter(real=0.1),
    "money": lambda: Everything.objects.filter(money=Decimal("12.50")),
    "day": lambda: Everything.objects.filter(day=NOW.date(), clock=dt.time(13, 5, 7, 123456)),
    "moment": lambda: Everything.objects.filter(moment=NOW),
    "year": lambda: Everything.objects.filter(moment__year=2013),
    "span": lambda: Everything.objects.filter(span=dt.timedelta(days=-1, microseconds=5)),
    "key": lambda: Everything.objects.filter(key=KEY),
    "document": lambda: Everything.objects.filter(document={"a": [1, "x'y"]}),
    "inside a document": lambda: Everything.objects.filter(document__a__0=1),
    "blob": lambda: Everything.objects.filter(blob=b"\x00\xff'"),
    "address": lambda: Everything.objects.filter(address="10.1.2.3"),
    "list": lambda: Everything.objects.filter(whole__in=[-7, 8, 9]),
    "nothing": lambda: Everything.objects.filter(size__isnull=True),
    "either": lambda: Everything.objects.filter(Q(short="a'b") | Q(whole__range=(-10, -1))),
    "join": lambda: City.objects.filter(country__code="PE").order_by("-name")[:3],
    "annotated": lambda: Country.objects.annotate(most=F("cities__population") * 2).filter(most__gte=10),
}


@pytest.fixture
def rows(db: None) -> None:
    Country.objects.create(code="PE")
    City.objects.create(name="Lima", country_id="PE", population=10)
    for number in (-7, 8):
        Everything.objects.create(
            text='O\'Hare \\ "x" %s %% ü ?',
            whole=number,
            big=2**62,
            flag=number < 0,
            real=0.1,
            money=Decimal("12.50"),
            day=NOW.date(),
            clock=dt.time(13, 5, 7, 123456),
            moment=NOW,
            span=dt.timedelta(days=-1, microseconds=5),
            key=KEY,
            document={"a": [1, "x'y"]},
            blob=b"\x00\xff'",
            address="10.1.2.3",
            short="a'b",
        )


@pytest.mark.parametrize("name", QUERIES)
def test_a_sample_gives_the_same_rows_as_its_statement(rows: None, name: str) -> None:
    queryset = QUERIES[name]().values_list("pk")
    sent = []

    def note(execute: Callable[..., object], sql: str, params: object, many: bool, context: object) -> object:
        sent.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        expected = list(queryset)
    assert expected, "The query finds nothing, which proves nothing."
    ((sql, params),) = sent
    sample = sample_of(connection, sql, params)
    assert "%s" not in re.sub(r"'(?:[^']|'')*'", "", sample)
    with connection.cursor() as cursor:
        cursor.execute(sample)
        assert cursor.fetchall() == expected


@pytest.mark.postgres
@pytest.mark.parametrize("name", QUERIES)
def test_a_sample_is_parsed_as_its_statement(rows: None, name: str) -> None:
    from pglast.parser import fingerprint as parsed

    compiler = QUERIES[name]().query.get_compiler(connection=connection)
    sql, params = compiler.as_sql()
    sample = sample_of(connection, sql, params)
    numbers = iter(range(1, 100))
    placed = re.sub(r"%s", lambda _: f"${next(numbers)}", sql.replace("%%", "%"))
    assert parsed(sample) == parsed(placed) or "::" in sample


@pytest.mark.parametrize("params", [None, (), []], ids=repr)
def test_percent_signs_are_as_the_database_sees_them(db: None, params: object) -> None:
    with connection.cursor() as cursor:
        sql = "SELECT 7 %% 4" if params is not None else "SELECT 7 % 4"
        cursor.execute(sql, params)
        assert cursor.fetchone() == (3,)
    assert sample_of(connection, sql, params) == "SELECT 7 % 4"


def test_names_fill_placeholders(db: None) -> None:
    sample = sample_of(connection, "SELECT name FROM testapp_city WHERE name = %(name)s", {"name": "O'Hare"})
    assert sample == "SELECT name FROM testapp_city WHERE name = 'O''Hare'"


@pytest.mark.parametrize(
    "params",
    [["x" * 3_000], [b"x" * 3_000], [["x" * 3_000]], ["a"] * 501, {"a": "x" * 3_000}, [object()], iter("a")],
    ids=["text", "bytes", "nested", "many", "named", "unknown", "no list"],
)
def test_there_is_none_of_values_that_are_not_kept(db: None, params: object) -> None:
    connection.ensure_connection()
    assert sample_of(connection, "SELECT %s", params) == ""


def test_there_is_none_with_a_nul(db: None) -> None:
    connection.ensure_connection()
    assert sample_of(connection, "SELECT %s", ["a\0b"]) in {"", "SELECT 'a'"}


def test_a_sample_has_the_fingerprint_of_its_statement_but_for_its_placeholders(rows: None) -> None:
    sql, params = QUERIES["text with quotes"]().query.get_compiler(connection=connection).as_sql()
    assert fingerprint(sample_of(connection, sql, params)) == fingerprint(sql).replace("%s", "?")
