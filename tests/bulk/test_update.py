"""`bulk_update`: what it writes is what Django would, and what it refuses leaves nothing behind."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from django.db import DataError, IntegrityError, connection, models, transaction
from django.db.models import F
from django.db.models.functions import Upper
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.bulk import RowDataError, RowIntegrityError, bulk_update, staging
from perfkit.errors import RowShapeError, UsageError
from tests.bulk.everything import IS_POSTGRESQL, VALUES, stored
from tests.testapp.bulk import (
    City,
    Computed,
    Country,
    Custom,
    Everything,
    Keyed,
    Node,
    ProxyCity,
    Stamped,
    Subscriber,
)

pytestmark = pytest.mark.django_db

FAST = "unnest" if IS_POSTGRESQL else "update"
ROWS = 4
"""In the table, when the property test begins."""

CHANGES = st.lists(
    st.tuples(
        st.integers(0, ROWS),  # the last is of no row
        st.fixed_dictionaries({}, optional={name: st.none() | values for name, values in VALUES.items()}),
    ),
    max_size=8,
)


@pytest.fixture
def cities(countries: None) -> list[City]:
    return [City.objects.create(name=name, country_id="PE") for name in ("Lima", "Cusco", "Puno")]


def written(act: Any) -> list[tuple[Any, ...]]:
    """Return what `act` leaves in the table, and undo it."""
    with transaction.atomic():
        act()
        found = stored()
        transaction.set_rollback(True)
    return found


@settings(
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(changes=CHANGES, chunk_rows=st.integers(1, 9), fewest_staged=st.sampled_from([1, 300]))
@pytest.mark.usefixtures("countries")
def test_pairs_write_what_update_writes(
    changes: list[tuple[int, dict[str, Any]]], chunk_rows: int, fewest_staged: int
) -> None:
    Everything.objects.all().delete()
    keys = [Everything.objects.create(whole=number).pk for number in range(ROWS)]
    keys.append(keys[-1] + 1)
    pairs = [(keys[place], values) for place, values in changes]

    def by_django() -> None:
        for key, values in pairs:
            if values:
                Everything.objects.filter(pk=key).update(**values)

    expected = written(by_django)
    with mock.patch.object(staging, "FEWEST_STAGED", fewest_staged):
        result = bulk_update(Everything, iter(pairs), chunk_rows=chunk_rows)
    assert stored() == expected
    assert result.rows == len(pairs)
    assert result.method in {"", FAST, "staged" if IS_POSTGRESQL else FAST}
    if chunk_rows >= len(pairs):
        named = {key for key, values in pairs if values}
        assert (result.updated, result.unmatched) == (len(named - {keys[-1]}), len(named & {keys[-1]}))


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(
    rows=st.lists(
        st.fixed_dictionaries({name: st.none() | each for name, each in VALUES.items()}), max_size=4
    ),
    fields=st.lists(st.sampled_from(sorted(VALUES)), min_size=1, unique=True),
)
@pytest.mark.usefixtures("countries")
def test_instances_write_what_djangos_bulk_update_writes(
    rows: list[dict[str, Any]], fields: list[str]
) -> None:
    Everything.objects.all().delete()
    instances = [Everything.objects.create() for _ in rows]
    for instance, values in zip(instances, rows, strict=True):
        for name, value in values.items():
            setattr(instance, name, value)
    expected = written(lambda: Everything.objects.bulk_update(instances, [_field(name) for name in fields]))
    result = bulk_update(Everything, instances, fields=fields)
    assert stored() == expected
    assert (result.rows, result.updated, result.unmatched) == (len(rows), len(rows), 0)


def _field(name: str) -> str:
    return Everything._meta.get_field(name).name


class TestKeys:
    def test_the_later_of_two_values_holds(self, cities: list[City]) -> None:
        for chunk_rows in (1, 2, 10):
            pairs = [
                (cities[0].pk, {"name": "A", "population": 1}),
                (str(cities[0].pk), {"population": 2}),
                (cities[1].pk, {"population": 7}),
                (cities[0].pk, {"name": "B"}),
            ]
            bulk_update(City, pairs, chunk_rows=chunk_rows)
            assert list(City.objects.order_by("pk").values_list("name", "population")[:2]) == [
                ("B", 2),
                ("Cusco", 7),
            ]
            City.objects.filter(pk=cities[0].pk).update(name="Lima", population=0)

    def test_it_counts_keys_that_the_table_has_not(self, cities: list[City]) -> None:
        result = bulk_update(City, [(cities[0].pk, {"name": "A"}), (-1, {"name": "B"}), (-2, {"name": "C"})])
        assert (result.rows, result.updated, result.unmatched) == (3, 1, 2)

    def test_they_may_be_texts_and_uuids(self, countries: None) -> None:
        keyed = Keyed.objects.create(name="a")
        assert bulk_update(Country, [("PE", {"name": "Peru"})]).updated == 1
        assert (
            bulk_update(Keyed, [(keyed.pk, {"name": "b"}), (str(uuid.uuid4()), {"name": "c"})]).updated == 1
        )
        assert Country.objects.get(pk="PE").name == "Peru"
        assert Keyed.objects.get().name == "b"

    def test_a_pair_that_names_nothing_changes_nothing(self, cities: list[City]) -> None:
        result = bulk_update(City, [(cities[0].pk, {}), (-1, {})])
        assert (result.rows, result.updated, result.unmatched, result.method) == (2, 0, 0, "")

    def test_no_rows_are_no_work(self) -> None:
        with CaptureQueriesContext(connection) as captured:
            result = bulk_update(City, [])
        assert (result.rows, result.method) == (0, "")
        assert not [each for each in captured.captured_queries if "UPDATE" in each["sql"]]


class TestFields:
    def test_a_relation_goes_by_its_name_or_its_id(self, cities: list[City]) -> None:
        pairs = [(cities[0].pk, {"country": Country(code="CL")}), (cities[1].pk, {"country_id": "CL"})]
        bulk_update(City, pairs)
        assert set(City.objects.filter(country_id="CL")) == set(cities[:2])

    def test_it_refreshes_auto_now_and_keeps_auto_now_add(self) -> None:
        old = timezone.now() - dt.timedelta(days=3)
        stamped = [Stamped.objects.create(name=name) for name in "ab"]
        Stamped.objects.update(created=old, changed=old)
        bulk_update(Stamped, [(stamped[0].pk, {"name": "c"})])
        stamped[1].name = "d"
        bulk_update(Stamped, [stamped[1]], fields=["name"])
        for each in Stamped.objects.all():
            assert each.created == old
            assert each.changed > old + dt.timedelta(days=2)
        stamped[1].refresh_from_db()
        assert stamped[1].name == "d"

    def test_an_auto_now_that_is_named_is_written(self) -> None:
        moment = timezone.now() - dt.timedelta(days=9)
        stamped = Stamped.objects.create(name="a")
        bulk_update(Stamped, [(stamped.pk, {"changed": moment})])
        assert Stamped.objects.get().changed == moment

    def test_it_honours_fields_of_ones_own(self) -> None:
        first, second = (Custom.objects.create(name=name, price=1) for name in "ab")
        first.name, first.price = "abc", 2.5
        bulk_update(Custom, [first], fields=["name", "price"])
        assert first.name == "ABC"  # as `save` leaves it
        bulk_update(Custom, [(second.pk, {"price": 0.25})])
        assert list(Custom.objects.order_by("pk").values_list("name", "price")) == [("ABC", 2.5), ("B", 0.25)]

    def test_the_database_computes_what_is_generated(self) -> None:
        computed = Computed.objects.create(name="a")
        bulk_update(Computed, [(computed.pk, {"name": "b"})])
        assert Computed.objects.get().loud == "B"
        with pytest.raises(RowShapeError, match="changes 'loud', which the database computes"):
            bulk_update(Computed, [(computed.pk, {"loud": "C"})])

    def test_values_may_be_expressions(self, cities: list[City]) -> None:
        pairs: list[Any] = [(city.pk, {"population": F("population") + 5}) for city in cities]
        pairs += [(cities[0].pk, {"population": F("population") * 2, "name": Upper("name")})]
        result = bulk_update(City, [*pairs, (-1, {"name": "x"})])
        assert list(City.objects.order_by("pk").values_list("name", "population")) == [
            ("LIMA", 10),
            ("Cusco", 5),
            ("Puno", 5),
        ]
        assert (result.updated, result.unmatched, result.method) == (3, 1, "update")

    def test_a_proxy_stands_for_its_model(self, cities: list[City]) -> None:
        assert bulk_update(ProxyCity, [(cities[0].pk, {"name": "A"})]).updated == 1


class TestRefusals:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            pytest.param(
                "small", 40_000, marks=pytest.mark.skipif(not IS_POSTGRESQL, reason="SQLite takes it")
            ),
            ("big", 2**63),
            ("short", "longer than five"),
            ("whole", "a word"),
            ("text", "\ud800"),
            pytest.param(
                "text", "nul\0", marks=pytest.mark.skipif(not IS_POSTGRESQL, reason="SQLite takes it")
            ),
            pytest.param(
                "money", 10**9, marks=pytest.mark.skipif(not IS_POSTGRESQL, reason="SQLite takes it")
            ),
        ],
    )
    def test_it_names_the_row_with_a_value_that_does_not_fit(self, field: str, value: Any) -> None:
        rows = [Everything.objects.create() for _ in range(5)]
        pairs = [
            (row.pk, {"slug": "new", field: None if number != 3 else value})
            for number, row in enumerate(rows)
        ]
        with pytest.raises(RowDataError) as caught:
            bulk_update(Everything, iter(pairs), chunk_rows=4)
        assert isinstance(caught.value, DataError)
        assert caught.value.row_number == 3
        assert caught.value.field in {field, None}
        assert str(value) not in str(caught.value)
        assert not Everything.objects.filter(slug="new").exists()

    def test_it_names_the_row_that_breaks_a_constraint(self, cities: list[City]) -> None:
        pairs = [(city.pk, {"name": name}) for city, name in zip(cities, ("A", "B", "B"), strict=True)]
        with pytest.raises(RowIntegrityError) as caught:
            bulk_update(City, pairs)
        assert isinstance(caught.value, IntegrityError)
        assert caught.value.row_number == 2
        assert list(City.objects.order_by("pk").values_list("name", flat=True)) == ["Lima", "Cusco", "Puno"]

    def test_it_names_the_row_without_a_value(self, cities: list[City]) -> None:
        pairs = [(cities[0].pk, {"population": 1}), (cities[1].pk, {"population": None})]
        with pytest.raises(RowIntegrityError) as caught:
            bulk_update(City, pairs)
        assert (caught.value.row_number, caught.value.field) == (1, "population")
        assert not City.objects.filter(population=1).exists()

    def test_a_refused_expression_names_its_row(self, cities: list[City]) -> None:
        pairs = [
            (cities[0].pk, {"name": F("name")}),
            (cities[1].pk, {"name": "x" * 21 if IS_POSTGRESQL else None}),
        ]
        with pytest.raises((RowDataError, RowIntegrityError)) as caught:
            bulk_update(City, pairs)
        assert caught.value.row_number == 1

    @pytest.mark.parametrize(
        ("row", "problem"),
        [
            ({"pk": 1, "name": "x"}, r"must be a pair \(pk, \{field: value\}\), not a dict of length 2"),
            ((1, "name", "x"), "must be a pair"),
            ((1, ["name"]), "must be a pair"),
            ((1, {"nam": "x"}), "has the unknown key 'nam'. Did you mean 'name'"),
            ((1, {5: "x"}), "has the unknown key 5"),
            ((1, {"pk": 2}), "changes the primary key"),
            ((1, {"id": 2}), "changes the primary key"),
            ((1, {"country": None, "country_id": "PE"}), "gives 'country' twice"),
        ],
    )
    def test_it_says_what_is_wrong_with_a_row(self, row: Any, problem: str) -> None:
        with pytest.raises(RowShapeError, match=f"Row 0 .*{problem}"):
            bulk_update(City, [row])

    def test_it_takes_instances_only_with_fields(self, cities: list[City]) -> None:
        with pytest.raises(RowShapeError, match=r"is an instance: say with fields=\[…\] what it changes"):
            bulk_update(City, cities)
        with pytest.raises(RowShapeError, match="must be an instance, for fields is given, not a tuple"):
            bulk_update(City, [(1, {"name": "x"})], fields=["name"])
        with pytest.raises(RowShapeError, match=r"Row 0 .* is a testapp.Country"):
            bulk_update(City, [Country(code="PE")], fields=["name"])

    @pytest.mark.parametrize("fields", [[], "name", ["nam"], ["id"], ["pk"]])
    def test_it_says_which_fields_it_cannot_change(self, fields: Any) -> None:
        with pytest.raises(UsageError, match="fields"):
            bulk_update(City, [], fields=fields)

    def test_it_needs_keys(self, cities: list[City]) -> None:
        for rows, fields in (([(None, {"name": "x"})], None), ([City(name="x")], ["name"])):
            with pytest.raises(RowDataError, match="the key is None"):
                bulk_update(City, rows, fields=fields)  # type: ignore[arg-type]  # lists of either kind

    def test_it_needs_related_instances_that_are_saved(self, cities: list[City]) -> None:
        child = Node.objects.create()
        child.parent = Node()
        with pytest.raises(RowDataError, match=r"Row 0 .*unsaved"):
            bulk_update(Node, [child], fields=["parent"])
        with pytest.raises(RowDataError, match="field 'parent': the related instance is not saved"):
            bulk_update(Node, [(child.pk, {"parent": Node()})])
        with pytest.raises(RowDataError, match=r"is not an instance of testapp.Node"):
            bulk_update(Node, [(child.pk, {"parent": child.pk})])

    def test_it_asks_only_of_the_relations_that_are_named(self, cities: list[City]) -> None:
        cities[0].name, cities[0].country = "A", Country(code=None)
        assert bulk_update(City, cities[:1], fields=["name"]).updated == 1
        with pytest.raises(RowDataError, match="unsaved"):
            bulk_update(City, cities[:1], fields=["country"])

    def test_it_needs_a_size(self) -> None:
        with pytest.raises(UsageError, match="chunk_rows must be at least 1"):
            bulk_update(City, [], chunk_rows=0)


class TestCalls:
    def test_it_tells_its_progress_and_reads_as_it_writes(self, cities: list[City]) -> None:
        told: list[int] = []

        def rows() -> Iterator[tuple[int, dict[str, Any]]]:
            for city in cities:
                yield city.pk, {"population": City.objects.filter(population__gt=0).count() + 1}

        bulk_update(City, rows(), chunk_rows=2, progress=told.append)
        assert told == [2, 3]
        assert list(City.objects.order_by("pk").values_list("population", flat=True)) == [1, 1, 3]

    def test_it_is_undone_with_the_callers_transaction(self, cities: list[City]) -> None:
        with transaction.atomic():
            bulk_update(City, [(cities[0].pk, {"name": "A"})])
            transaction.set_rollback(True)
        assert City.objects.get(pk=cities[0].pk).name == "Lima"

    def test_the_callers_transaction_goes_on_after_a_refusal(self, cities: list[City]) -> None:
        with transaction.atomic():
            with pytest.raises(RowIntegrityError):
                bulk_update(City, [(cities[0].pk, {"population": None})])
            City.objects.filter(pk=cities[0].pk).update(name="A")
        assert City.objects.get(pk=cities[0].pk).name == "A"

    @pytest.mark.skipif(not IS_POSTGRESQL, reason="elsewhere it is a statement for each row")
    def test_it_sends_one_statement_for_each_set_of_fields(self, cities: list[City]) -> None:
        pairs = [
            (cities[0].pk, {"name": "A"}),
            (cities[1].pk, {"name": "B"}),
            (cities[2].pk, {"population": 3}),
        ]
        with CaptureQueriesContext(connection) as captured:
            bulk_update(City, pairs)
        assert len([each for each in captured.captured_queries if "UPDATE" in each["sql"]]) == 2


@pytest.mark.django_db(transaction=True)
def test_a_foreign_key_that_leads_nowhere_is_refused_with_its_row() -> None:
    Country.objects.create(code="PE")
    cities = [City.objects.create(name=name, country_id="PE") for name in "abc"]
    pairs = [(cities[0].pk, {"country_id": "PE"}), (cities[1].pk, {"country_id": "XX"})]
    with pytest.raises(IntegrityError) as caught:
        bulk_update(City, pairs)
    if IS_POSTGRESQL:
        assert isinstance(caught.value, RowIntegrityError)
        assert (caught.value.row_number, caught.value.field) == (1, "country")
    assert models.QuerySet(City).filter(country_id="PE").count() == 3


@pytest.mark.parametrize("fewest_staged", [1, 300])
@pytest.mark.parametrize("chunk_rows", [1, 10])
def test_rows_that_meet_in_a_constraint_go_in_their_order(chunk_rows: int, fewest_staged: int) -> None:
    first, second = [Subscriber.objects.create(code=code, email=code).pk for code in "ab"]
    with mock.patch.object(staging, "FEWEST_STAGED", fewest_staged):
        shifted = [(second, {"email": "c"}), (first, {"email": "b"})]
        assert bulk_update(Subscriber, shifted, chunk_rows=chunk_rows).updated == 2
        with pytest.raises(RowIntegrityError) as caught:
            bulk_update(
                Subscriber, [(second, {"email": "b"}), (first, {"email": "z"})], chunk_rows=chunk_rows
            )
    assert caught.value.row_number == 0
    assert set(Subscriber.objects.values_list("pk", "email")) == {(first, "b"), (second, "c")}


@pytest.mark.parametrize("fewest_staged", [1, 300])
def test_repeated_keys_keep_their_place_among_others(fewest_staged: int) -> None:
    first, second = [Subscriber.objects.create(code=code, email=code).pk for code in "ab"]
    rows: list[Any] = [
        (first, {"email": "x"}),
        (first, {"email": "y"}),
        (second, {"email": "x"}),
        (first, {"email": "z", "amount": 1}),
        (second, {"email": "y"}),
    ]
    with mock.patch.object(staging, "FEWEST_STAGED", fewest_staged):
        result = bulk_update(Subscriber, rows)
    assert (result.updated, result.unmatched) == (2, 0)
    assert set(Subscriber.objects.values_list("pk", "email", "amount")) == {(first, "z", 1), (second, "y", 0)}
