"""How `bulk_insert` refuses rows: which error, which row, which field, and what is left."""

from __future__ import annotations

import pickle
from decimal import Decimal

import pytest
from django.db import DataError, IntegrityError, connection, transaction

from perfkit.bulk import RowDataError, RowIntegrityError, bulk_insert
from tests.testapp.bulk import City, Country, Custom, Everything, Stamped

IS_POSTGRESQL = connection.vendor == "postgresql"
only_postgresql = pytest.mark.skipif(not IS_POSTGRESQL, reason="SQLite's columns take it, as with Django")

SECRET = 918273645


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("small", 40_000, marks=only_postgresql),
        pytest.param("whole", 2**31, marks=only_postgresql),
        ("big", 2**63),
        ("big", -(2**63) - 1),
        pytest.param("small", "40000", marks=only_postgresql),
        ("short", "longer than five"),
        ("size", "ab"),
        ("whole", "a word"),
        ("whole", [SECRET]),
        ("money", Decimal("NaN")),
        ("money", "a word"),
        pytest.param("money", Decimal(SECRET), marks=only_postgresql),
        ("day", "31 June"),
        ("key", "no uuid"),
        ("flag", "perhaps"),
        ("document", {"a": object()}),
        pytest.param("document", {"a": "\0"}, marks=only_postgresql),
        pytest.param("text", "nul\0", marks=only_postgresql),
        ("text", "\ud800"),
        ("whole", "\ud800"),
        ("day", "\ud800"),
        ("key", "\ud800"),
        ("flag", "\ud800"),
        pytest.param("document", "\ud800", marks=only_postgresql),
        ("money", Decimal("sNaN")),
        ("real", Decimal("sNaN")),
        ("address", "300.1.1.1") if IS_POSTGRESQL else ("real", "a word"),
    ],
)
@pytest.mark.parametrize("as_instance", [False, True])
def test_it_refuses_a_value_that_does_not_fit_its_column(field, value, as_instance):
    rows = [{field: None}, {field: None}, {field: None}, {field: value}, {field: None}]
    with pytest.raises(RowDataError) as caught:
        bulk_insert(Everything, (Everything(**row) if as_instance else row for row in rows), chunk_rows=2)
    assert isinstance(caught.value, DataError)
    assert (caught.value.row_number, caught.value.field) in {
        (3, field),
        (3, None if field == "document" else field),
    }
    assert str(caught.value).startswith("Row 3 (from 0)")
    if value != "ab":
        assert str(value) not in str(caught.value)
    assert not Everything.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("as_instance", [False, True])
@pytest.mark.parametrize("first_name", ["plain", "expression"])
def test_it_names_the_row_that_breaks_a_unique_constraint(as_instance, first_name):
    rows = [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "b"}]
    if first_name == "expression":
        from django.db.models import Value

        rows[2]["name"] = Value("c")
    with pytest.raises(RowIntegrityError) as caught:
        bulk_insert(Stamped, [Stamped(**row) if as_instance else row for row in rows])
    assert isinstance(caught.value, IntegrityError)
    assert (caught.value.row_number, caught.value.field) == (3, "name")
    assert isinstance(caught.value.__cause__, IntegrityError)
    assert not Stamped.objects.exists()


@pytest.mark.django_db
def test_it_names_the_row_that_lacks_a_value():
    with pytest.raises(RowIntegrityError) as caught:
        bulk_insert(Country, [{"code": "a"}, {"code": "b", "name": None}])
    assert (caught.value.row_number, caught.value.field) == (1, "name")


@pytest.mark.django_db
def test_it_names_the_row_where_several_fields_must_be_unique_together():
    Country.objects.create(code="PE")
    row = {"name": "Lima", "country_id": "PE"}
    with pytest.raises(RowIntegrityError) as caught:
        bulk_insert(City, [row, row])
    assert (caught.value.row_number, caught.value.field) == (1, None)
    assert "Lima" not in str(caught.value)


@pytest.mark.django_db
def test_it_names_the_row_that_breaks_a_check():
    Country.objects.create(code="PE")
    rows = [{"name": name, "country_id": "PE", "population": each} for name, each in [("a", 1), ("b", -1)]]
    with pytest.raises(RowIntegrityError) as caught:
        bulk_insert(City, rows)
    assert caught.value.row_number == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(not IS_POSTGRESQL, reason="SQLite says at COMMIT only that some foreign key failed")
def test_it_names_the_row_of_a_foreign_key_to_nothing():
    Country.objects.create(code="PE")
    codes = ["PE", "PE", "PE", "ZZ", "YY", "PE"]
    rows = [{"name": str(each), "country_id": code} for each, code in enumerate(codes)]
    with pytest.raises(RowIntegrityError) as caught:
        bulk_insert(City, rows, chunk_rows=2)
    assert (caught.value.row_number, caught.value.field) == (3, "country")
    assert "ZZ" not in str(caught.value)
    assert not City.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_it_leaves_foreign_keys_to_your_commit_inside_your_transaction():
    with transaction.atomic():
        bulk_insert(City, [{"name": "Lima", "country_id": "PE"}])
        Country.objects.create(code="PE")
    assert City.objects.get().country.code == "PE"
    with pytest.raises(IntegrityError), transaction.atomic():
        bulk_insert(City, [{"name": "Nowhere", "country_id": "ZZ"}])
    assert City.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_it_refuses_a_foreign_key_to_nothing_with_an_error_of_django():
    with pytest.raises(IntegrityError):
        bulk_insert(City, [{"name": "Nowhere", "country_id": "ZZ"}])
    assert not City.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("as_instance", [False, True])
def test_it_refuses_a_related_instance_that_is_not_saved(as_instance):
    row = {"name": "Lima", "country": Country(code=None)}
    with pytest.raises(RowDataError, match=r"Row 0 .*not saved|Row 0 .*unsaved"):
        bulk_insert(City, [City(**row) if as_instance else row])


@pytest.mark.django_db
def test_it_refuses_an_id_under_the_name_of_the_relation():
    with pytest.raises(
        RowDataError, match=r"field 'country': a str of 2 characters .* an id goes under 'country_id'"
    ):
        bulk_insert(City, [{"name": "Lima", "country": "PE"}])


@pytest.mark.django_db
def test_it_refuses_what_a_custom_fields_preparation_refuses():
    with pytest.raises(RowDataError) as caught:
        bulk_insert(Custom, [{"name": "a", "price": 1}, {"name": "b", "price": "dear"}])
    assert (caught.value.row_number, caught.value.field) == (1, "price")


@pytest.mark.django_db
@pytest.mark.parametrize("problem", ["value", "constraint", "generator", "progress"])
def test_it_writes_nothing_and_leaves_the_callers_transaction_usable(problem):
    def rows():
        yield from ({"code": str(each)} for each in range(4))
        if problem == "value":
            yield {"code": "too long"}
        if problem == "constraint":
            yield {"code": "1"}
        if problem == "generator":
            raise LookupError

    def progress(written: int) -> None:
        if problem == "progress" and written == 4:
            raise LookupError

    with transaction.atomic():
        Country.objects.create(code="PE")
        with pytest.raises((RowDataError, RowIntegrityError, LookupError)):
            bulk_insert(Country, rows(), chunk_rows=2, progress=progress)
        Country.objects.create(code="CL")
    assert set(Country.objects.values_list("code", flat=True)) == {"PE", "CL"}


@pytest.mark.parametrize("kind", [RowDataError, RowIntegrityError])
def test_it_keeps_its_facts_when_pickled(kind):
    copy = pickle.loads(pickle.dumps(kind(3, "name", "is wrong.")))  # noqa: S301  # our own bytes
    assert (copy.row_number, copy.field, copy.problem) == (3, "name", "is wrong.")
    assert str(copy) == "Row 3 (from 0), field 'name': is wrong."


@pytest.mark.django_db
@pytest.mark.skipif(IS_POSTGRESQL, reason="PostgreSQL refuses it, as with Django")
def test_half_a_character_in_a_document_is_written_as_by_django():
    bulk_insert(Everything, [{"document": "\ud800"}])
    Everything.objects.bulk_create([Everything(document="\ud800")])
    assert list(Everything.objects.values_list("document", flat=True)) == ["\ud800", "\ud800"]
