from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.models import QuerySet
from django.test.utils import isolate_apps

from perfkit.loading import ExplainQuerySetMixin, FastManager, FastQuerySet, FastQuerySetMixin, eager
from tests.hydration.comparison import models_initialised, portrait
from tests.testapp.hydration import Diary, Entry
from tests.testapp.loading import Book, Person, Publisher

pytestmark = pytest.mark.django_db


@pytest.fixture
def publishers() -> list[Publisher]:
    return Publisher.objects.bulk_create([Publisher(name=f"house {number}") for number in range(3)])


class BookQuerySet(FastQuerySetMixin[Any], ExplainQuerySetMixin, QuerySet[Any]):
    def of(self, name: str) -> Any:
        return self.filter(publisher__name=name)


def test_a_queryset_class_of_ones_own_reads_fast(publishers: list[Publisher]) -> None:
    Book.objects.bulk_create([Book(title="t", publisher=house) for house in publishers])
    manager: Any = BookQuerySet.as_manager()
    manager.model, manager.name = Book, "fast"

    for queryset in (
        BookQuerySet(Book).of("house 1"),
        manager.of("house 1"),
        manager.get_queryset().of("house 1"),
    ):
        assert type(queryset) is BookQuerySet
        list(queryset.all())
        assert models_initialised(lambda queryset=queryset: list(queryset.all())) == []
        assert portrait(list(queryset)) == portrait(list(Book.objects.filter(publisher__name="house 1")))
    assert BookQuerySet(Book).explain_report(analyze=False)


def test_managers_are_made_as_djangos_are() -> None:
    with isolate_apps("tests.testapp"):

        class Quick(models.Model):
            fast = FastManager()
            as_manager = FastQuerySet.as_manager()
            own = FastManager.from_queryset(BookQuerySet)()

            class Meta:
                app_label = "testapp"

        assert type(Quick.fast.all()) is type(Quick.as_manager.all()) is FastQuerySet
        assert type(Quick.own.all()) is BookQuerySet
        assert type(Quick._default_manager) is FastManager


def test_it_goes_with_eager(publishers: list[Publisher]) -> None:
    Book.objects.bulk_create([Book(title="t", publisher=house) for house in publishers])
    queryset = eager(FastQuerySet(Book).order_by("pk"), "publisher", "authors", "review_set")
    plain = eager(Book.objects.order_by("pk"), "publisher", "authors", "review_set")

    assert type(queryset) is FastQuerySet
    for _ in range(3):
        assert portrait(list(queryset.all())) == portrait(list(plain.all()))


@pytest.mark.parametrize("many", [1, 50])
def test_it_asks_as_often_as_django(many: int, django_assert_num_queries: Any) -> None:
    diary = Diary.objects.create(name="mine")
    Entry.objects.bulk_create([Entry(diary=diary, text="t") for _ in range(many)])
    for _ in range(3):
        with django_assert_num_queries(1):
            assert [entry.diary.name for entry in Entry.objects.select_related("diary")] == ["mine"] * many
        with django_assert_num_queries(1):
            assert [entry.diary for entry in diary.entries.all()] == [diary] * many
        with django_assert_num_queries(2):
            [found] = Diary.objects.prefetch_related("entries")
            assert len(found.entries.all()) == many


def test_what_it_reads_can_be_written(publishers: list[Publisher]) -> None:
    for _ in range(3):
        [house] = FastQuerySet(Publisher).filter(name="house 1")
        house.save()
        FastQuerySet(Person).create(name="new").delete()
        person, _ = FastQuerySet(Person).update_or_create(name="kept", defaults={"name": "kept"})
        assert person.pk
        assert FastQuerySet(Publisher).filter(pk=house.pk).update(name="house 1") == 1
    assert Person.objects.count() == 1
