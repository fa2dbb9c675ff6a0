from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import models
from django.db.models import FilteredRelation, Q, QuerySet, Value
from django.db.models.functions import Length
from django.db.models.sql.compiler import SQLCompiler
from django.test.utils import isolate_apps

from perfkit.hydration import shapes
from perfkit.hydration.shapes import MOST_SHAPES, WORTH_ROWS, model_rows_for, shape_of
from tests.testapp.bulk import Car, Vehicle
from tests.testapp.hydration import Square
from tests.testapp.loading import Book, Person, Publisher, Review

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_shapes() -> Iterator[None]:
    shapes._shapes.clear()
    yield
    shapes._shapes.clear()


def compiler_of(queryset: QuerySet[Any]) -> SQLCompiler:
    compiler = queryset.query.get_compiler("default")
    compiler.as_sql()
    return compiler


SHAPES = {
    "plain": Book.objects.all,
    "other model": Publisher.objects.all,
    "fewer columns": lambda: Book.objects.defer("title"),
    "other columns": lambda: Book.objects.defer("publisher"),
    "one relation": lambda: Book.objects.select_related("publisher"),
    "another relation": lambda: Book.objects.select_related("editor"),
    "relation of a relation": lambda: Book.objects.select_related("editor__mentor"),
    "relation with fewer columns": lambda: Book.objects.select_related("editor").defer("editor__name"),
    "reverse relation": lambda: Person.objects.select_related("its_profile"),
    "two to the same model": lambda: Review.objects.select_related("critic", "book__editor"),
    "one to the same model": lambda: Review.objects.select_related("critic"),
    "annotation": lambda: Book.objects.annotate(length=Length("title")),
    "annotation of another name": lambda: Book.objects.annotate(size=Length("title")),
    "annotations": lambda: Book.objects.annotate(length=Length("title"), one=Value(1)),
    "annotations in another order": lambda: Book.objects.annotate(one=Value(1), length=Length("title")),
    "extra": lambda: Book.objects.extra(select={"one": "1"}),
    "parent": lambda: Vehicle.objects.select_related("car"),
    "child": Car.objects.all,
    "composite": Square.objects.all,
}  # fmt: skip


def test_shapes_differ_wherever_rows_become_other_instances() -> None:
    known = {name: shape_of(compiler_of(make())) for name, make in SHAPES.items()}

    assert None not in known.values()
    assert len(set(known.values())) == len(SHAPES)
    assert known == {name: shape_of(compiler_of(make())) for name, make in SHAPES.items()}


def test_what_is_asked_for_is_no_part_of_the_shape() -> None:
    one = compiler_of(Book.objects.filter(title="a").order_by("title")[:1])
    other = compiler_of(Book.objects.exclude(publisher__name="b").annotate(one=Value(1)).distinct().defer())
    third = compiler_of(Book.objects.filter(publisher__name="b")[5:10])

    assert shape_of(one) == shape_of(third) != shape_of(other)


def filtered() -> SQLCompiler:
    home = FilteredRelation("its_profile", condition=Q(its_profile__city="Rome"))
    return compiler_of(Person.objects.annotate(home=home).select_related("home"))


def test_it_is_kept_from_the_second_use_on() -> None:
    assert model_rows_for(compiler_of(Book.objects.all()), WORTH_ROWS - 1) is None
    made = model_rows_for(compiler_of(Book.objects.all()), 0)

    assert made is not None
    assert model_rows_for(compiler_of(Book.objects.filter(title="a")), 0) is made
    assert model_rows_for(compiler_of(Book.objects.defer("title")), 0) is None


def test_many_rows_are_worth_it_at_once() -> None:
    made = model_rows_for(compiler_of(Book.objects.all()), WORTH_ROWS)

    assert made is not None
    assert model_rows_for(compiler_of(Book.objects.all()), 1) is made


def test_what_has_no_shape_is_made_for_many_rows_and_not_kept() -> None:
    assert shape_of(filtered()) is None
    for _ in range(3):
        assert model_rows_for(filtered(), WORTH_ROWS - 1) is None
    assert model_rows_for(filtered(), WORTH_ROWS) is not None
    assert shapes._shapes == {}


def test_it_keeps_only_so_many() -> None:
    shapes._shapes.update(dict.fromkeys(range(MOST_SHAPES)))
    model_rows_for(compiler_of(Book.objects.all()), WORTH_ROWS)

    assert len(shapes._shapes) == 1


def test_a_model_of_the_same_name_has_another_shape() -> None:
    def model() -> type[models.Model]:
        with isolate_apps("tests.testapp"):

            class Same(models.Model):
                class Meta:
                    app_label = "testapp"

        return Same

    first, second = model(), model()
    assert shape_of(compiler_of(QuerySet(first))) != shape_of(compiler_of(QuerySet(second)))


def test_a_shape_keeps_nothing_of_its_query() -> None:
    compiler: Any = compiler_of(Book.objects.select_related("publisher").annotate(length=Length("title")))
    model_rows_for(compiler, WORTH_ROWS)
    gone = weakref.ref(compiler), weakref.ref(compiler.query)
    del compiler
    gc.collect()

    assert [each() for each in gone] == [None, None]
