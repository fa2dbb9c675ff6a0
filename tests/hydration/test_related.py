from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, models
from django.db.models import Model
from django.db.models.signals import post_init, pre_init
from django.test.utils import isolate_apps

from perfkit.hydration.related import ModelRows, Node, tree_of
from tests.hydration.comparison import hydrated, models_initialised, portrait, raw_rows
from tests.testapp.bulk import Car, Vehicle
from tests.testapp.caching import Loud
from tests.testapp.hydration import Speech
from tests.testapp.loading import Book, Person, Publisher, Review

pytestmark = pytest.mark.django_db


def tree(queryset: models.QuerySet[Any]) -> Node:
    compiler = queryset.query.get_compiler("default")
    compiler.as_sql()
    assert compiler.klass_info is not None
    assert compiler.select is not None
    return tree_of(compiler.klass_info, compiler.select)


def test_a_tree_numbers_its_models_from_the_root_down() -> None:
    root = tree(Review.objects.select_related("book__editor", "book__publisher", "critic"))

    assert [(node.number, node.model) for node in root.walk()] == [
        (0, Review), (1, Book), (2, Publisher), (3, Person), (4, Person),
    ]  # fmt: skip
    assert [node.values for node in root.walk()] == [
        "row[0:4]", "row[4:8]", "row[8:10]", "row[10:13]", "row[13:16]",
    ]  # fmt: skip
    assert [node.key_position for node in root.walk()] == [0, 4, 8, 10, 13]


def test_a_child_takes_the_columns_of_its_parent_from_where_they_stand() -> None:
    root = tree(Vehicle.objects.select_related("car").annotate(one=models.Value(1)))
    [child] = root.children

    assert (child.model, child.attnames) == (Car, ["id", "wheels", "vehicle_ptr_id", "doors"])
    assert child.positions == [0, 1, 3, 4]
    assert child.values == "pick_1(row)"
    assert child.key_position == 3


def test_a_child_of_two_parents_has_their_columns_in_its_own_order() -> None:
    with isolate_apps("tests.testapp"):

        class Boat(models.Model):
            boat = models.AutoField(primary_key=True)

            class Meta:
                app_label = "testapp"

        class Bus(models.Model):
            bus = models.AutoField(primary_key=True)
            seats = models.IntegerField()

            class Meta:
                app_label = "testapp"

        class BoatBus(Boat, Bus):
            name = models.CharField(max_length=10)

            class Meta:
                app_label = "testapp"

        root = tree(Bus.objects.select_related("boatbus"))
    [child] = root.children

    assert root.attnames == ["bus", "seats"]
    assert child.attnames == [field.attname for field in BoatBus._meta.concrete_fields]
    assert child.positions[:3] == [2, 0, 1]
    [bus] = ModelRows(root, {})("default", [(1, 40, 7, 7, 1, "duck")])
    assert bus._state.fields_cache["boatbus"].boat == 7
    assert bus._state.fields_cache["boatbus"].seats == 40


def test_it_makes_no_instance_by_djangos_constructor(library: None) -> None:
    hydrator, rows = raw_rows(Review.objects.select_related("book__editor__mentor", "critic__its_profile"))

    assert models_initialised(lambda: hydrator(rows, connection)) == []


def test_it_leaves_to_from_db_only_the_model_that_has_its_own(oddities: None) -> None:
    hydrator, rows = raw_rows(Speech.objects.select_related("loud", "speaker"))

    assert models_initialised(lambda: hydrator(rows, connection)) == [Loud]


@pytest.mark.parametrize("signal", [pre_init, post_init], ids=["pre_init", "post_init"])
def test_it_tells_a_receiver_that_is_connected_later_and_is_quick_for_the_others(
    library: None, signal: Any
) -> None:
    hydrator, rows = raw_rows(Book.objects.select_related("publisher", "editor__its_profile").order_by("pk"))
    expected = portrait(hydrator(rows, connection))
    told: list[Any] = []

    def listen(sender: type[Model], **_: Any) -> None:
        told.append(sender)

    signal.connect(listen, sender=Person)
    try:
        assert models_initialised(lambda: hydrator(rows, connection)) == [Person] * 3
        assert portrait(hydrator(rows, connection)) == expected
        assert told == [Person] * 6
    finally:
        signal.disconnect(listen, sender=Person)
    assert models_initialised(lambda: hydrator(rows, connection)) == []


def test_a_receiver_sees_an_instance_before_its_relations_and_annotations(library: None) -> None:
    queryset = Person.objects.select_related("mentor").annotate(one=models.Value(1)).order_by("pk")
    seen: list[Any] = []

    def listen(instance: Model, **_: Any) -> None:
        seen.append(portrait(instance))

    post_init.connect(listen, sender=Person)
    try:
        list(queryset)
        by_django = list(seen)
        seen.clear()
        hydrated(queryset)
    finally:
        post_init.disconnect(listen, sender=Person)

    assert by_django
    assert seen == by_django


def test_it_calls_a_setter_that_does_more_than_djangos() -> None:
    called: list[str] = []
    with isolate_apps("tests.testapp"):

        class WatchedKey(models.ForeignKey):
            def set_cached_value(self, instance: Model, value: Any) -> None:
                called.append(f"{type(value).__name__} for {instance.pk}")
                super().set_cached_value(instance, value)

        class Leaf(models.Model):
            class Meta:
                app_label = "testapp"

        class Branch(models.Model):
            leaf = WatchedKey(Leaf, models.CASCADE, null=True)

            class Meta:
                app_label = "testapp"

    rows_of = ModelRows(tree(Branch.objects.select_related("leaf")), {})

    first, second = rows_of("default", [(1, 7, 7), (2, None, None)])

    assert called == ["Leaf for 1", "NoneType for 2"]
    assert first._state.fields_cache["leaf"].pk == 7
    assert second._state.fields_cache == {"leaf": None}
