"""`bulk_delete`: what is gone is what Django's `delete` would have taken, in chunks and in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection, models, transaction
from django.db.models import ProtectedError
from django.db.models.signals import post_delete
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as property_settings
from hypothesis import strategies as st

from perfkit.bulk import bulk_delete
from perfkit.errors import RowShapeError, UnsupportedModelError, UsageError
from tests.bulk.everything import IS_POSTGRESQL
from tests.testapp.bulk import Car, City, Country, Keyed, Node, ProxyCity, Vehicle
from tests.testapp.models import Item

pytestmark = pytest.mark.django_db


@pytest.fixture
def cities(countries: None) -> list[City]:
    return [City.objects.create(name=f"No. {number}", country_id="PE") for number in range(7)]


def left() -> list[str]:
    return list(City.objects.order_by("pk").values_list("name", flat=True))


class TestWhich:
    @pytest.mark.parametrize("chunk_rows", [1, 2, 3, 100])
    def test_it_takes_keys_and_instances_from_any_iterable(self, cities: list[City], chunk_rows: int) -> None:
        which: Iterator[Any] = iter([cities[0].pk, cities[2], str(cities[4].pk), cities[0].pk, -1])
        told: list[int] = []
        result = bulk_delete(City, which, chunk_rows=chunk_rows, progress=told.append)
        assert left() == ["No. 1", "No. 3", "No. 5", "No. 6"]
        assert (result.rows, result.deleted, result.deleted_by_model) == (5, 3, {"testapp.City": 3})
        assert told[-1] == 5
        if chunk_rows == 100:
            assert result.unmatched == 1

    @pytest.mark.parametrize("chunk_rows", [1, 3, 100])
    def test_it_takes_a_queryset(self, cities: list[City], chunk_rows: int) -> None:
        result = bulk_delete(City, City.objects.filter(pk__lt=cities[5].pk), chunk_rows=chunk_rows)
        assert left() == ["No. 5", "No. 6"]
        assert (result.rows, result.unmatched, result.deleted) == (5, 0, 5)

    @pytest.mark.parametrize("chunk_rows", [1, 2, 100])
    def test_it_takes_a_slice_which_django_does_not(self, cities: list[City], chunk_rows: int) -> None:
        bulk_delete(City, City.objects.order_by("-name")[1:5], chunk_rows=chunk_rows)
        assert left() == ["No. 0", "No. 1", "No. 6"]

    def test_it_takes_a_union(self, cities: list[City]) -> None:
        first, second = City.objects.filter(pk=cities[0].pk), City.objects.filter(pk=cities[3].pk)
        assert bulk_delete(City, first.union(second), chunk_rows=1).deleted == 2

    @pytest.mark.skipif(not IS_POSTGRESQL, reason="PostgreSQL alone has DISTINCT ON")
    def test_it_takes_the_first_of_each(self, cities: list[City]) -> None:
        City.objects.filter(pk__gt=cities[3].pk).update(country_id="CL")
        bulk_delete(City, City.objects.order_by("country_id", "name").distinct("country_id"))
        assert left() == ["No. 1", "No. 2", "No. 3", "No. 5", "No. 6"]

    def test_it_takes_a_cached_queryset_and_readers_see_it(self) -> None:
        items = [Item.plain.create(name="old", count=number) for number in range(4)]
        for _ in range(2):
            assert [each.count for each in Item.objects.order_by("count")] == [0, 1, 2, 3]
        bulk_delete(Item, Item.objects.filter(count__gt=1))
        assert [each.count for each in Item.objects.order_by("count")] == [0, 1]
        bulk_delete(Item, [items[0].pk])
        assert [each.count for each in Item.objects.order_by("count")] == [1]

    def test_keys_may_be_texts_and_uuids(self, countries: None) -> None:
        keyed = [Keyed.objects.create(name=name) for name in "ab"]
        assert bulk_delete(Keyed, [keyed[0].pk, str(keyed[1].pk)]).deleted == 2
        assert bulk_delete(Country, ["PE", "CL", "XX"]).unmatched == 1
        assert not Country.objects.exists()

    def test_none_is_no_work(self) -> None:
        for which in ([], City.objects.none(), City.objects.all()):
            result = bulk_delete(City, which)
            assert (result.rows, result.deleted, result.deleted_by_model) == (0, 0, {})

    @property_settings(
        max_examples=40,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
        deadline=None,
    )
    @given(named=st.lists(st.integers(0, 9), max_size=12), chunk_rows=st.integers(1, 13))
    def test_it_leaves_what_delete_leaves(self, named: list[int], chunk_rows: int) -> None:
        """Of rows that refer to each other: each but the first few to the one three before it."""
        Node.objects.all().delete()
        nodes: list[Node] = []
        for number in range(9):
            nodes.append(Node.objects.create(parent=nodes[number - 3] if number > 4 else None))
        keys = [nodes[number].pk if number < 9 else -1 for number in named]
        with transaction.atomic():
            expected_count = Node.objects.filter(pk__in=keys).delete()[0]
            expected = set(Node.objects.values_list("pk", flat=True))
            transaction.set_rollback(True)
        result = bulk_delete(Node, keys, chunk_rows=chunk_rows)
        assert set(Node.objects.values_list("pk", flat=True)) == expected
        assert (result.rows, result.deleted) == (len(keys), expected_count)


class TestAsDjango:
    def test_it_cascades_and_tells_of_what(self, cities: list[City]) -> None:
        result = bulk_delete(Country, Country.objects.filter(code="PE"))
        assert result.deleted_by_model == {"testapp.City": 7, "testapp.Country": 1}
        assert result.deleted == 8
        assert left() == []

    def test_it_deletes_rows_of_several_tables(self) -> None:
        cars = [Car.objects.create(wheels=4, doors=number) for number in range(3)]
        result = bulk_delete(Car, cars[:2])
        assert result.deleted_by_model == {"testapp.Car": 2, "testapp.Vehicle": 2}
        assert Vehicle.objects.count() == 1

    def test_it_sends_the_signals(self, cities: list[City]) -> None:
        deleted: list[str] = []

        def note(*, instance: City, **_: Any) -> None:
            deleted.append(instance.name)

        post_delete.connect(note, sender=City)
        try:
            bulk_delete(City, City.objects.all()[:3], chunk_rows=2)
        finally:
            post_delete.disconnect(note, sender=City)
        assert len(deleted) == 3

    def test_a_proxy_stands_for_its_model(self, cities: list[City]) -> None:
        bulk_delete(ProxyCity, City.objects.filter(pk=cities[0].pk))
        bulk_delete(City, [ProxyCity.objects.get(pk=cities[1].pk)])
        assert len(left()) == 5

    def test_what_protects_a_row_undoes_all(
        self, cities: list[City], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Country.objects.create(code="AA")
        relation: Any = City._meta.get_field("country").remote_field
        monkeypatch.setattr(relation, "on_delete", models.PROTECT)
        with pytest.raises(ProtectedError):
            bulk_delete(Country, ["AA", "PE"], chunk_rows=1)
        assert Country.objects.filter(code="AA").exists()
        assert len(left()) == 7

    def test_the_callers_transaction_goes_on(self, cities: list[City]) -> None:
        with transaction.atomic():
            with pytest.raises(RowShapeError):
                bulk_delete(City, [cities[0].pk, None], chunk_rows=1)
            bulk_delete(City, cities[1:])
        assert left() == ["No. 0"]

    @pytest.mark.skipif(not IS_POSTGRESQL, reason="a statement of SQLite takes fewer parameters")
    def test_it_needs_two_statements_for_a_chunk(self, cities: list[City]) -> None:
        with CaptureQueriesContext(connection) as captured:
            bulk_delete(City, [city.pk for city in cities], chunk_rows=4)
        said = [each["sql"].split()[0] for each in captured.captured_queries]
        assert said.count("DELETE") == 2
        assert said.count("SELECT") == 2

    def test_a_chunk_is_no_larger_than_one_statement_may_be(
        self, cities: list[City], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A property of the class in some versions, which may have been looked up and kept on the instance.
        vars(connection.features).pop("max_query_params", None)
        monkeypatch.setattr(type(connection.features), "max_query_params", 3)
        told: list[int] = []
        bulk_delete(City, cities, progress=told.append)
        assert told == [3, 6, 7]
        assert left() == []


class TestRefusals:
    def test_it_says_which_row_has_no_key(self, cities: list[City]) -> None:
        for which in ([cities[0].pk, None], [cities[0], City()]):
            with pytest.raises(RowShapeError, match=r"Row 1 \(from 0\) of testapp.City has no key"):
                bulk_delete(City, which)
        assert len(left()) == 7

    def test_it_refuses_what_is_of_another_model(self, cities: list[City]) -> None:
        with pytest.raises(RowShapeError, match=r"Row 0 .* is a testapp\.Country"):
            bulk_delete(City, [Country(code="PE")])
        with pytest.raises(UsageError, match=r"testapp\.City got a queryset of testapp\.Country"):
            bulk_delete(City, Country.objects.all())

    def test_it_refuses_a_queryset_of_another_database(self) -> None:
        with pytest.raises(UsageError, match=r"reads from 'default', and using says 'other'"):
            bulk_delete(City, City.objects.using("default"), using="other")

    def test_it_refuses_a_model_without_a_table(self) -> None:
        class Abstract(models.Model):
            class Meta:
                abstract = True
                app_label = "testapp"

        with pytest.raises(UnsupportedModelError, match=r"bulk_delete cannot serve testapp\.Abstract"):
            bulk_delete(Abstract, [])

    def test_it_deletes_where_writes_go(self, cities: list[City], settings: LazySettings) -> None:
        class ReadsElsewhere:
            """A router whose replica must not be asked, let alone written."""

            def db_for_read(self, model: type[models.Model], **_: Any) -> str:
                return "replica"

        settings.DATABASE_ROUTERS = [ReadsElsewhere()]
        bulk_delete(City, City.objects.all()[:3])
        assert City.objects.using("default").count() == 4

    def test_it_needs_a_size(self) -> None:
        with pytest.raises(UsageError, match="chunk_rows must be at least 1"):
            bulk_delete(City, [], chunk_rows=0)
