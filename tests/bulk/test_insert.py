"""What `bulk_insert` writes, on every database."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.models import F, Value
from django.utils.translation import gettext_lazy

from perfkit.bulk import bulk_insert
from perfkit.errors import RowShapeError, UsageError
from tests.testapp.bulk import (
    City,
    Computed,
    Country,
    Custom,
    Everything,
    Keyed,
    Lonely,
    Node,
    ProxyCity,
    Stamped,
)

pytestmark = pytest.mark.django_db
FAST = "copy" if connection.vendor == "postgresql" else "insert"


@pytest.fixture
def peru() -> Country:
    return Country.objects.create(code="PE", name="Peru")


def test_it_writes_every_row_of_a_generator_across_chunks():
    progress: list[int] = []
    rows = ({"code": f"{number:02}"} for number in range(25))
    result = bulk_insert(Country, rows, chunk_rows=10, progress=progress.append)
    assert (result.rows, result.method, result.ids) == (25, FAST, None)
    assert result.rows_per_second == pytest.approx(25 / result.seconds)
    assert progress == [10, 20, 25]
    assert set(Country.objects.values_list("code", "name")) == {
        (f"{each:02}", "unnamed") for each in range(25)
    }


@pytest.mark.parametrize("return_ids", [False, True])
def test_it_accepts_no_rows(return_ids):
    result = bulk_insert(Country, iter(()), return_ids=return_ids)
    assert (result.rows, result.method, result.ids) == (0, "", [] if return_ids else None)


def test_it_takes_the_chunk_size_from_the_settings(settings):
    settings.PERFKIT = {"BULK_INSERT_CHUNK_SIZE": 2}
    progress: list[int] = []
    bulk_insert(Country, [{"code": each} for each in "abc"], progress=progress.append)
    assert progress == [2, 3]


def test_it_refuses_a_chunk_of_nothing():
    with pytest.raises(UsageError, match="at least 1, not 0"):
        bulk_insert(Country, [], chunk_rows=0)


def test_it_lets_the_generator_query_the_same_connection(peru):
    bulk_insert(Keyed, [{"name": str(each)} for each in range(30)])
    rows = ({"name": keyed.name, "country": peru} for keyed in Keyed.objects.iterator(7))
    assert bulk_insert(City, rows, chunk_rows=10).rows == 30
    assert City.objects.count() == 30


@pytest.mark.parametrize("kind", ["object", "id", "instance", "mixed"])
def test_it_takes_a_foreign_key_in_every_form(peru, kind):
    forms = {
        "object": [{"name": "Lima", "country": peru}, {"name": "Cusco", "country": peru}],
        "id": [{"name": "Lima", "country_id": "PE"}, {"country_id": "PE", "name": "Cusco"}],
        "instance": [City(name="Lima", country=peru), City(name="Cusco", country_id="PE")],
        "mixed": [City(name="Lima", country=peru), {"name": "Cusco", "country_id": "PE", "population": 0}],
    }
    assert bulk_insert(City, forms[kind]).rows == 2
    assert set(City.objects.values_list("name", "country", "population")) == {
        ("Lima", "PE", 0),
        ("Cusco", "PE", 0),
    }


def test_it_reads_a_key_that_the_related_instance_got_later():
    country = Country(name="Peru")
    city = City(name="Lima", country=country)
    country.code = "PE"
    country.save()
    bulk_insert(City, [city])
    assert City.objects.get().country_id == "PE"


def test_it_keeps_explicit_keys_beside_drawn_ones(peru):
    rows = [
        {"name": "a", "country": peru},
        {"name": "b", "country": peru, "id": 1_000_900},
        {"name": "c", "country": peru, "id": None},
        {"name": "d", "country": peru, "pk": 1_000_901},
        City(name="e", country=peru),
        City(name="f", country=peru, pk=1_000_800),
    ]
    result = bulk_insert(City, rows, return_ids=True, chunk_rows=4)
    assert result.ids is not None
    assert [City.objects.get(pk=pk).name for pk in result.ids] == list("abcdef")
    assert (result.ids[1], result.ids[3], result.ids[5]) == (1_000_900, 1_000_901, 1_000_800)
    assert rows[4].pk == result.ids[4]


def test_it_returns_the_ids_in_the_order_of_the_rows(peru):
    rows = ({"name": str(each), "country": peru} for each in range(100))
    ids = bulk_insert(City, rows, return_ids=True, chunk_rows=30).ids
    assert ids is not None
    assert City.objects.in_bulk(ids).keys() == set(ids)
    assert [City.objects.get(pk=pk).name for pk in ids[::11]] == [str(each) for each in range(0, 100, 11)]


def test_it_returns_the_keys_of_a_model_that_makes_its_own():
    known = uuid4()
    rows = [Keyed(name="a"), {"name": "b"}, {"name": "c", "id": str(known)}, {"name": "d", "id": None}]
    ids = bulk_insert(Keyed, rows, return_ids=True).ids
    assert ids is not None
    assert [Keyed.objects.get(pk=pk).name for pk in ids] == list("abcd")
    assert ids[0] == rows[0].pk
    assert UUID(str(ids[2])) == known


def test_it_marks_instances_as_saved_where_their_key_is_known(peru):
    with_key, without = City(pk=1_000_005, name="a", country=peru), City(name="b", country=peru)
    bulk_insert(City, [with_key, without])
    assert not with_key._state.adding
    assert without._state.adding
    assert without.pk is None
    later = City(name="c", country=peru)
    bulk_insert(City, [later], return_ids=True)
    later.population = 7
    later.save()
    assert City.objects.get(name="c").population == 7
    assert City.objects.count() == 3


def test_it_fills_the_clock_fields_like_save():
    before = dt.datetime.now(tz=dt.UTC)
    instance = Stamped(name="a")
    old = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    bulk_insert(Stamped, [instance, {"name": "b", "changed": old, "created": old}])
    for row in Stamped.objects.all():
        assert before <= row.created <= row.changed <= dt.datetime.now(tz=dt.UTC)
        assert row.day in {before.date(), dt.date.today()}  # noqa: DTZ011  # as DateField.pre_save
    assert instance.created >= before


def test_it_calls_a_callable_default_for_every_row():
    bulk_insert(Stamped, ({"name": str(each)} for each in range(20)))
    assert len(set(Stamped.objects.values_list("token", flat=True))) == 20


@pytest.mark.parametrize("as_instance", [False, True])
def test_it_honours_a_fields_own_pre_save_and_preparation(as_instance):
    row = {"name": "loud", "price": 1.25}
    bulk_insert(Custom, [Custom(**row) if as_instance else row])
    assert Custom.objects.values_list("name", "price").get() == ("LOUD", 1.25)
    with connection.cursor() as cursor:
        cursor.execute("SELECT price FROM testapp_custom")
        assert cursor.fetchone() == (125,)


def test_it_leaves_to_the_database_what_is_the_databases():
    rows = [
        {"name": "a"},
        {"name": "b", "state": "old"},
        Computed(name="c"),
        {"name": "d", "loud": "ignored"},
    ]
    bulk_insert(Computed, rows)
    found = {row.name: row for row in Computed.objects.all()}
    assert [(found[name].state, found[name].loud) for name in "abcd"] == [
        ("new", "A"), ("old", "B"), ("new", "C"), ("new", "D"),
    ]  # fmt: skip
    assert all(row.since for row in found.values())


def test_it_numbers_rows_in_their_order_whatever_they_leave_to_the_database():
    rows = [{"name": str(each)} | ({"state": "old"} if each % 3 else {}) for each in range(12)]
    bulk_insert(Computed, rows, chunk_rows=5)
    assert list(Computed.objects.order_by("pk").values_list("name", flat=True)) == [
        str(each) for each in range(12)
    ]


def test_it_writes_rows_of_nothing_but_a_key():
    result = bulk_insert(Lonely, [{}, {}, Lonely()], return_ids=True)
    assert result.ids is not None
    assert set(Lonely.objects.values_list("pk", flat=True)) == set(result.ids)


def test_it_lets_a_row_refer_to_a_later_one():
    bulk_insert(Node, [{"id": 1, "parent_id": 2}, {"id": 2, "parent_id": None}], chunk_rows=1)
    assert Node.objects.get(pk=1).parent_id == 2


def test_it_serves_a_proxy(peru):
    bulk_insert(ProxyCity, [{"name": "a", "country": peru}, City(name="b", country=peru)])
    assert City.objects.count() == 2


def test_it_writes_an_expression_as_django_does():
    result = bulk_insert(Country, [{"code": "a", "name": Value("x")}, {"code": "b", "name": "y"}])
    assert result.method == "insert"
    assert set(Country.objects.values_list("code", "name")) == {("a", "x"), ("b", "y")}


def test_it_names_both_methods_where_only_some_chunks_hold_expressions():
    rows = [{"code": "a", "name": "x"}, {"code": "b", "name": Value("y")}, {"code": "c", "name": "z"}]
    assert bulk_insert(Country, rows, chunk_rows=1).method == ("copy+insert" if FAST == "copy" else "insert")
    assert Country.objects.count() == 3


def test_it_refuses_a_reference_to_another_column_as_django_does():
    with pytest.raises(ValueError, match="can only be used to update"), transaction.atomic():
        bulk_insert(Country, [{"code": "a", "name": F("code")}])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"code": "a", "nmae": "x"},
            r"Row 1 \(from 0\) of testapp.Country has the unknown key 'nmae'. Did you mean 'name'",
        ),
        ({"code": "a", "pk": "b"}, "gives 'code' twice"),
        ("code", "must be a dict, an instance, or an object with named fields, not a str"),
        (Node(), r"is a testapp\.Node"),
    ],
)
def test_it_refuses_what_is_not_a_row_of_the_model(row, message):
    with pytest.raises(RowShapeError, match=message):
        bulk_insert(Country, [{"code": "x"}, row])
    assert not Country.objects.exists()


def test_it_writes_text_that_looks_like_copy_syntax():
    texts = ["\\N", "\\.", "", "tab\there", "line\nbreak", "\\\\", "ünï😀", '"quoted",', "NULL"]
    bulk_insert(Everything, [{"text": each} for each in texts])
    assert list(Everything.objects.order_by("pk").values_list("text", flat=True)) == texts


def test_it_resolves_lazy_text_and_choices():
    bulk_insert(
        Everything,
        [{"text": gettext_lazy("Yes"), "size": Everything.Size.LARGE, "rank": Everything.Rank.HIGH}],
    )
    assert Everything.objects.values_list("text", "size", "rank").get() == ("Yes", "l", 2)


def test_it_converts_values_as_django_does():
    bulk_insert(
        Everything,
        [{"whole": "12", "big": 3.9, "real": 2, "day": dt.datetime(2013, 1, 2, 3, tzinfo=dt.UTC), "money": "1.005",
          "flag": 1, "short": 7, "key": "12345678123456781234567812345678"}],
    )  # fmt: skip
    row = Everything.objects.get()
    assert (row.whole, row.big, row.real, row.day, row.flag, row.short) == (
        12,
        3,
        2.0,
        dt.date(2013, 1, 2),
        True,
        "7",
    )
    assert row.money in {Decimal("1.00"), Decimal("1.01")}  # PostgreSQL rounds up, Django for SQLite to even
    assert row.key == UUID("12345678-1234-5678-1234-567812345678")


def test_it_warns_of_naive_datetimes_as_django_does():
    with pytest.warns(RuntimeWarning, match="naive datetime"):
        bulk_insert(Everything, [{"moment": dt.datetime(2013, 1, 2, 3)}])  # noqa: DTZ001
    assert Everything.objects.get().moment == dt.datetime(2013, 1, 2, 3, tzinfo=dt.UTC)


def test_it_writes_none_into_json_as_null():
    bulk_insert(Everything, [{"document": None}, {"document": {"a": [None, 1]}}, {"document": "text"}])
    assert Everything.objects.filter(document__isnull=True).count() == 1
    assert Everything.objects.filter(document={"a": [None, 1]}).exists()
    assert Everything.objects.filter(document="text").exists()


@pytest.mark.parametrize("return_ids", [False, True])
def test_it_needs_no_more_memory_for_more_rows(return_ids):
    """Measured in a process of its own, for what other tests leave running takes memory, too."""
    ids = ["ids"] if return_ids else []
    name = str(connection.settings_dict["NAME"])
    told = subprocess.run(
        [sys.executable, "-m", "tests.bulk.peaks", name, *ids], capture_output=True, text=True, check=True
    )
    few, many = map(int, told.stdout.split())
    for_ids = 15_000 * 48 if return_ids else 0  # an int and its place in a list that grows by an eighth
    assert many - few < 150_000 + for_ids
