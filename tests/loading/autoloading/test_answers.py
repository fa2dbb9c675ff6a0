"""What a row is given is what its own query would have answered, whatever was written in between."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import django
import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.utils import ConnectionDoesNotExist
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.bulk import bulk_insert
from perfkit.loading import autoload
from tests.loading.guard.loops import make_library
from tests.testapp.loading import Book, Chapter, Label, Person, Publisher, Remark, Review

SIZE = 5


class RolledBackError(Exception):
    """Ends a transaction."""


def roll_back() -> None:
    raise RolledBackError


def stars(book: Book) -> list[int]:
    return sorted(review.stars for review in book.review_set.all())


def authors(book: Book) -> list[str]:
    return sorted(person.name for person in book.authors.all())


def labels(book: Book) -> list[str]:
    return sorted(label.text for label in book.labels.all())


def starred(book: Book) -> list[int]:
    return sorted(review.stars for review in book.review_set.filter(stars__gte=3))


READS: list[Callable[[Book], Any]] = [
    stars,
    authors,
    labels,
    starred,
    lambda book: book.review_set.count(),
    lambda book: book.review_set.exists(),
    lambda book: book.authors.count(),
    lambda book: book.authors.exists(),
    lambda book: book.labels.count(),
    lambda book: book.labels.exists(),
    lambda book: len(book.review_set.all()),
    lambda book: bool(book.authors.all()),
    lambda book: sorted(person.mentor.name for person in book.authors.all() if person.mentor),
]


def add_review(book: Book) -> None:
    critic = Person.objects.order_by("pk").first()
    assert critic is not None
    book.review_set.create(critic=critic, stars=4)


def insert_reviews(book: Book) -> None:
    critic = Person.objects.order_by("pk").first()
    assert critic is not None
    bulk_insert(Review, [{"book_id": book.pk, "critic_id": critic.pk, "stars": 2}])


def delete_reviews(book: Book) -> None:
    Review.objects.filter(book=book).delete()


def move_reviews(book: Book) -> None:
    Review.objects.all().update(book=book)


def move_reviews_by_sql(book: Book) -> None:
    with connection.cursor() as cursor:
        cursor.execute("update testapp_review set book_id = %s", [book.pk])


def add_author(book: Book) -> None:
    book.authors.add(*Person.objects.order_by("pk")[:2])


def clear_authors(book: Book) -> None:
    book.authors.clear()


def label(book: Book) -> None:
    content_type = ContentType.objects.get_for_model(Book)
    Label.objects.create(content_type=content_type, object_id=book.pk, text="best")


def unlabel(book: Book) -> None:
    book.labels.all().delete()


def write_and_roll_back(book: Book) -> None:
    try:
        with transaction.atomic():
            delete_reviews(book)
            clear_authors(book)
            roll_back()
    except RolledBackError:
        pass


def save_the_row(book: Book) -> None:
    book.save()


WRITES: list[Callable[[Book], None]] = [
    add_review,
    insert_reviews,
    delete_reviews,
    move_reviews,
    move_reviews_by_sql,
    add_author,
    clear_authors,
    label,
    unlabel,
    write_and_roll_back,
    save_the_row,
]

steps = st.lists(
    st.tuples(st.integers(0, SIZE - 1), st.sampled_from([*READS, *READS, *WRITES])), min_size=1, max_size=25
)


@given(steps=steps)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_they_are_those_of_the_rows_own_queries(
    steps: list[tuple[int, Callable[[Book], Any]]], db: None
) -> None:
    try:
        with transaction.atomic():
            make_library(SIZE)
            rows = list(autoload(Book.objects.order_by("pk")))
            for place, step in steps:
                if step in READS:
                    assert step(rows[place]) == step(Book.objects.get(pk=rows[place].pk))
                else:
                    step(rows[place])
            roll_back()
    except RolledBackError:
        pass


@pytest.fixture
def rows(db: None) -> list[Book]:
    make_library(SIZE)
    ContentType.objects.get_for_model(Book)
    return list(autoload(Book.objects.order_by("pk")))


def test_a_row_that_is_asked_twice_is_answered_anew(rows: list[Book]) -> None:
    for book in rows:
        assert book.review_set.count() == 3
    Review.objects.filter(book=rows[0]).delete()
    assert [book.review_set.count() for book in rows] == [0, 3, 3, 3, 3]


def test_rows_that_are_each_asked_twice_take_two_queries(rows: list[Book]) -> None:
    with CaptureQueriesContext(connection) as captured:
        for book in rows:
            assert book.review_set.count() == 3
            assert len(book.review_set.all()) == 3
            assert book.review_set.count() == 3
    assert len(captured) == 3


def test_a_row_that_is_asked_again_and_again_asks_by_itself(rows: list[Book]) -> None:
    with CaptureQueriesContext(connection) as captured:
        for _ in range(20):
            assert rows[0].review_set.count() == 3
    alone = [query["sql"] for query in captured if "GROUP BY" not in query["sql"]]
    assert (len(captured), len(alone)) == (20, 16)


def test_a_loop_that_writes_what_it_reads_loads_for_all_rows_once(rows: list[Book]) -> None:
    with CaptureQueriesContext(connection) as captured:
        for book in rows:
            book.review_set.filter(stars=1).update(stars=2)
            assert book.review_set.count() == 3
    counts = [query["sql"] for query in captured if "COUNT(" in query["sql"]]
    assert len(counts) == SIZE
    assert sum("GROUP BY" in sql for sql in counts) == 1


def test_what_was_prefetched_stays_so(db: None) -> None:
    make_library(SIZE)
    rows = list(autoload(Book.objects.prefetch_related("review_set").order_by("pk")))
    with CaptureQueriesContext(connection) as captured:
        assert [len(book.review_set.all()) for book in rows] == [3] * SIZE
        assert [book.review_set.count() for book in rows] == [3] * SIZE
    assert len(captured) == 0
    assert [len(book.authors.all()) for book in rows] == [2] * SIZE
    assert [len(book.review_set.all()) for book in rows] == [3] * SIZE


def test_a_relation_to_one_row_stays_as_django_keeps_it(rows: list[Book]) -> None:
    assert rows[0].publisher.name == "North"
    Publisher.objects.update(name="East")
    assert [book.publisher.name for book in rows[:2]] == ["North", "South"]
    rows[0].refresh_from_db()
    assert rows[0].publisher.name == "East"


def test_a_key_that_leads_nowhere_is_told_as_ever(db: None) -> None:
    content_type = ContentType.objects.get_for_model(Book)
    Label.objects.bulk_create(
        [Label(content_type_id=content_type.pk + 1000 * n, object_id=1, text=str(n)) for n in (0, 1, 2)]
    )
    rows = list(autoload(Label.objects.order_by("pk")))
    assert rows[0].content_type == content_type
    for row in rows[1:]:
        with pytest.raises(ContentType.DoesNotExist):
            row.content_type  # noqa: B018  # it is read


def test_another_key_is_another_answer(rows: list[Book]) -> None:
    assert stars(rows[0]) == [1, 3, 5]
    rows[1].pk = rows[2].pk
    Review.objects.filter(book=rows[2], stars=5).delete()
    rows[3].pk = 0
    assert stars(rows[1]) == [1, 3]
    assert stars(rows[3]) == []


def test_deferred_values_of_rows_that_are_gone_are_told_as_ever(db: None) -> None:
    make_library(SIZE)
    rows = list(autoload(Book.objects.only("publisher").order_by("pk")))
    Book.objects.filter(pk=rows[1].pk).delete()
    assert rows[0].title == "book 0"
    with pytest.raises(Book.DoesNotExist):
        rows[1].title  # noqa: B018  # it is read
    assert rows[2].title == "book 2"


def test_rows_that_a_manager_numbers_are_asked_for_one_by_one(rows: list[Book]) -> None:
    for book in rows:
        for _ in range(2):
            Chapter(book=book).save()
    assert [len(book.chapters.all()) for book in rows] == [1] * SIZE
    assert [book.chapters.count() for book in rows] == [1] * SIZE
    assert [book.chapters.exists() for book in rows] == [True] * SIZE


def test_what_a_manager_joins_is_part_of_the_answer(rows: list[Book]) -> None:
    people = list(Person.objects.order_by("pk"))
    for book in rows:
        Remark(book=book, author=people[0]).save()
    assert [remark.author.name for remark in rows[0].remarks.all()] == [people[0].name]
    Person.objects.filter(pk=people[0].pk).update(name="Ann")
    assert [remark.author.name for remark in rows[1].remarks.all()] == ["Ann"]
    fresh = list(autoload(Book.objects.order_by("pk")))
    assert fresh[0].remarks.count() == 1
    Person.objects.filter(pk=people[0].pk).update(name="nobody")
    assert fresh[1].remarks.count() == 0


@pytest.mark.django_db(transaction=True)
def test_what_was_rolled_back_in_a_block_that_is_entered_again_is_not_shown() -> None:
    make_library(SIZE)
    rows = list(autoload(Book.objects.order_by("pk")))

    @transaction.atomic
    def attempt(place: int, *, fails: bool) -> list[int]:
        if fails:
            Review.objects.update(stars=2)
        found = stars(rows[place])
        if fails:
            roll_back()
        return found

    with pytest.raises(RolledBackError):
        attempt(0, fails=True)
    assert attempt(1, fails=False) == [1, 3, 5]


@pytest.mark.django_db(transaction=True)
def test_what_another_thread_writes_it_sees_itself() -> None:
    make_library(SIZE)
    rows = list(autoload(Book.objects.order_by("pk")))
    for _ in range(5):
        Publisher.objects.update(name="East")
    assert stars(rows[0]) == [1, 3, 5]
    found: list[list[int]] = []

    def write_and_read() -> None:
        Review.objects.update(stars=2)
        found.append(stars(rows[1]))
        connection.close()

    thread = threading.Thread(target=write_and_read)
    thread.start()
    thread.join()
    assert found == [[2, 2, 2]]


def test_a_copy_of_a_relation_is_a_queryset_of_its_own(rows: list[Book]) -> None:
    for queryset in (rows[0].review_set.all(), rows[0].authors.all()):
        again = copy.deepcopy(queryset)
        assert again.order_by("pk").count() == queryset.count()
        assert set(again) == set(queryset)


def test_a_model_that_loads_its_fields_in_its_own_way_does(
    rows: list[Book], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    django_refresh = Book.refresh_from_db

    def refresh(self: Book, *args: Any, **kwargs: Any) -> None:
        asked.append(kwargs["fields"])
        django_refresh(self, *args, **kwargs)

    monkeypatch.setattr(Book, "refresh_from_db", refresh)
    assert [book.title for book in autoload(Book.objects.defer("title"))]
    assert len(asked) == SIZE


def test_a_router_decides_as_ever(rows: list[Book], settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["tests.loading.autoloading.test_answers.Elsewhere"]
    with pytest.raises(ConnectionDoesNotExist):
        rows[0].review_set.count()


class Elsewhere:
    """A router that reads reviews from a database that there is not."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "elsewhere" if model is Review else None


@pytest.mark.skipif(django.VERSION < (6, 1), reason="fetch modes came with it")
def test_a_mode_that_forbids_loading_forbids_it(db: None) -> None:
    from django.core.exceptions import FieldFetchBlocked
    from django.db.models import FETCH_RAISE

    make_library(SIZE)
    queryset: Any = Book.objects.order_by("pk")
    for book in autoload(queryset.fetch_mode(FETCH_RAISE)):
        with pytest.raises(FieldFetchBlocked):
            book.publisher  # noqa: B018  # it is read
