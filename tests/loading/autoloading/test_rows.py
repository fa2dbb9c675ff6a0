"""Which rows load for each other, and for how long they know each other."""

from __future__ import annotations

import copy
import gc
import pickle
import re
import weakref
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import caches
from django.db import connection, models
from django.test import override_settings
from django.test.utils import CaptureQueriesContext, isolate_apps

from perfkit.caching.queryset import as_cached
from perfkit.conf import configured
from perfkit.errors import UnsupportedModelError
from perfkit.loading import AutoloadManager, AutoloadQuerySetMixin, autoload
from tests.loading.guard.loops import make_library
from tests.testapp.loading import Book, Person, Publisher, Review


@pytest.fixture(autouse=True)
def library(db: None) -> None:
    make_library(6)


def rows() -> list[Book]:
    return list(autoload(Book.objects.order_by("pk")))


def names(books: list[Book]) -> list[str]:
    return [book.publisher.name for book in books]


def queries(read: Any) -> int:
    with CaptureQueriesContext(connection) as captured:
        read()
    return len(captured)


def test_pickled_rows_find_each_other_again() -> None:
    again = pickle.loads(pickle.dumps(rows()))  # noqa: S301  # of this test
    assert queries(lambda: names(again)) == 1


def test_one_pickled_row_takes_nobody_with_it() -> None:
    first = rows()[0]
    alone = Book.objects.get(pk=first.pk)
    assert len(pickle.dumps(first)) < len(pickle.dumps(alone)) + 300
    again = pickle.loads(pickle.dumps(first))  # noqa: S301  # of this test
    assert again == alone
    assert queries(lambda: names([again])) == 1


def test_a_pickled_queryset_and_its_relations_come_back() -> None:
    queryset = autoload(Book.objects.order_by("pk"))
    again = pickle.loads(pickle.dumps(queryset))  # noqa: S301  # of this test
    assert queries(lambda: names(list(again))) == 1
    books = rows()
    reviews = pickle.loads(pickle.dumps(books[0].review_set.all()))  # noqa: S301  # likewise
    assert sorted(review.stars for review in reviews) == [1, 3, 5]


def test_rows_from_djangos_cache_find_each_other_again() -> None:
    caches["default"].set("rows", rows(), 60)
    again = caches["default"].get("rows")
    assert queries(lambda: names(again)) == 1


def test_rows_of_a_cached_queryset_load_for_each_other() -> None:
    for _ in range(2):
        books = list(autoload(as_cached(Book.objects.order_by("pk"), ttl=60)))
        assert queries(lambda books=books: names(books)) == 1


def test_copies_load_for_themselves() -> None:
    books = rows()
    for another in (copy.copy(books[0]), copy.deepcopy(books[0])):
        assert queries(lambda another=another: names([another])) == 1
        assert not books[1]._state.fields_cache
    assert queries(lambda: names(books)) == 1


def test_rows_are_released() -> None:
    books = rows()
    names(books)
    assert [book.review_set.count() for book in books[:1]] == [3]
    watched = [weakref.ref(book) for book in books[1:]]
    kept = books[0]
    del books
    gc.collect()
    assert [each() for each in watched] == [None] * 5
    assert kept.review_set.count() == 3


def test_rows_that_are_gone_are_not_loaded_for() -> None:
    first, *others = rows()
    del others[1:]
    gc.collect()
    with CaptureQueriesContext(connection) as captured:
        len(first.review_set.all())
    asked = captured[0]["sql"].partition(" WHERE ")[2]
    assert re.findall(r"\d+", asked)[:2] == [str(first.pk), str(others[0].pk)]


def test_chunks_of_an_iterator_load_each_for_itself() -> None:
    queryset = autoload(Book.objects.order_by("pk"))
    read: list[str] = []
    count = queries(lambda: read.extend(names(queryset.iterator(chunk_size=2))))  # type: ignore[arg-type]
    assert read == ["North", "South"] * 3
    assert count == 1 + 3


@pytest.mark.parametrize(("after", "expected"), [(1, 1), (2, 2), (3, 3), (7, 6)])
def test_the_setting_says_how_many_rows_are_asked_first(after: int, expected: int) -> None:
    with override_settings(PERFKIT={**configured(), "AUTOLOAD_AFTER_ROWS": after}):
        books = rows()
        assert queries(lambda: names(books)) == expected
        books = rows()
        assert queries(lambda: [book.review_set.count() for book in books]) == expected


def test_one_row_of_many_loads_nothing_for_the_others_where_the_setting_says_so() -> None:
    with override_settings(PERFKIT={**configured(), "AUTOLOAD_AFTER_ROWS": 2}):
        books = rows()
        assert names(books[:1]) == ["North"]
    assert not books[1]._state.fields_cache


def test_what_was_joined_loads_too() -> None:
    reviews = list(autoload(Review.objects.select_related("book").order_by("pk")))
    assert queries(lambda: [review.book.publisher.name for review in reviews]) == 1
    assert queries(lambda: [review.book.authors.count() for review in reviews]) == 1


def test_what_was_loaded_loads_too() -> None:
    books = rows()

    def read() -> None:
        for book in books:
            for author in book.authors.all():
                assert author.profile.city
                if author.mentor:
                    assert author.mentor.profile.city

    assert queries(read) == 4


def test_other_rows_of_the_model_are_left_alone() -> None:
    rows()
    assert queries(lambda: names(list(Book.objects.order_by("pk")))) == 1 + 6


def test_new_rows_are_left_alone() -> None:
    rows()
    book = Book(title="new", publisher_id=1)
    with pytest.raises(ValueError, match="primary key"):
        book.review_set.count()


def test_it_is_kept_by_what_is_made_of_the_queryset() -> None:
    queryset = autoload(Book.objects.all()).filter(pk__gt=0).exclude(pk=0).order_by("pk")[:4]
    books = list(queryset)
    assert queries(lambda: names(books)) == 1
    assert list(queryset.values_list("title", flat=True)) == [book.title for book in books]
    assert set(autoload(Book.objects.all()) | Book.objects.none()) == set(books) | set(rows())


def test_values_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="no instances"):
        autoload(Book.objects.values("title"))


def test_async_code_reads_for_all_rows() -> None:
    async def read() -> list[int]:
        books = [book async for book in autoload(Book.objects.order_by("pk"))]
        return [await book.review_set.acount() for book in books] + [
            len([author async for author in book.authors.all()]) for book in books
        ]

    answers: list[int] = []
    assert queries(lambda: answers.extend(async_to_sync(read)())) == 3
    assert answers == [3] * 6 + [2] * 6


def test_more_rows_than_one_query_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfkit.loading.autoloading.peers.MOST_ROWS", 4)
    for read in (names, lambda books: [book.review_set.count() for book in books]):
        assert queries(lambda read=read: read(rows())) == 1 + 2
        assert queries(lambda read=read: read(rows()[::-1])) == 1 + 2


@isolate_apps("tests.testapp")
def test_a_manager_has_all_its_rows_load_for_each_other() -> None:
    class Library(AutoloadQuerySetMixin, models.QuerySet[Any]):
        pass

    class Volume(models.Model):
        title = models.CharField(max_length=20)
        publisher = models.ForeignKey(Publisher, models.CASCADE, related_name="+")

        objects = AutoloadManager()
        library = Library.as_manager()

        class Meta:
            app_label = "testapp"
            managed = False
            db_table = "testapp_book"

    assert queries(lambda: [each.publisher_id for each in Volume.objects.all()]) == 1
    for queryset in (Volume.objects.filter(pk__gt=0), Volume.library.filter(pk__gt=0).autoload()):
        books = list(queryset)
        assert type(books[0]) is Volume
        assert all(book._state.__dict__.get("autoload_peer") for book in books)
    assert not next(iter(Volume.library.all()))._state.__dict__.get("autoload_peer")


def test_people_load_from_both_sides_of_a_relation_with_themselves() -> None:
    people = list(autoload(Person.objects.order_by("pk")))
    plain = list(Person.objects.order_by("pk"))
    assert queries(lambda: [len(person.pupils.all()) for person in people]) == 1
    assert [person.pupils.count() for person in people] == [person.pupils.count() for person in plain]
