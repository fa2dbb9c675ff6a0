from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.db.models import Prefetch, QuerySet
from django.test.utils import CaptureQueriesContext

from perfkit.errors import RelationPathError
from perfkit.loading import eager
from tests.testapp.loading import Book, Label, Person, Profile, Publisher, Review

pytestmark = pytest.mark.django_db

PATHS = ("publisher", "editor__profile", "authors__mentor", "review_set__critic", "labels")


def make_books(count: int) -> None:
    for number in range(count):
        mentor = Person.objects.create(name=f"mentor {number}")
        author = Person.objects.create(name=f"author {number}", mentor=mentor)
        editor = Person.objects.create(name=f"editor {number}") if number % 2 else None
        if editor and number % 3:
            Profile.objects.create(person=editor, city=f"city {number}")
        book = Book.objects.create(
            title=f"book {number}", publisher=Publisher.objects.create(name=f"house {number}"), editor=editor
        )
        book.authors.set([author, mentor])
        for stars in range(number % 4):
            Review.objects.create(book=book, critic=author, stars=stars)
        Label.objects.create(target=book, text=f"label {number}")


def as_told(book: Book) -> dict[str, Any]:
    """Everything that a page about a book would show."""
    editor = book.editor
    return {
        "title": book.title,
        "publisher": book.publisher.name,
        "editor": editor and editor.name,
        "city": editor.profile.city if editor and hasattr(editor, "profile") else None,
        "authors": sorted(
            (author.name, author.mentor.name if author.mentor else "") for author in book.authors.all()
        ),
        "reviews": sorted((review.stars, review.critic.name) for review in book.review_set.all()),
        "labels": sorted(label.text for label in book.labels.all()),
    }


def books() -> QuerySet[Book]:
    return Book.objects.order_by("pk")


@pytest.mark.parametrize("count", [1, 50])
def test_it_takes_one_query_for_each_to_many_step_however_many_rows(count: int) -> None:
    make_books(count)

    with CaptureQueriesContext(
        connection,
    ) as captured:
        told = [as_told(book) for book in eager(books(), *PATHS)]

    assert len(told) == count
    assert len(captured) == 4


def test_it_answers_what_the_plain_queryset_answers() -> None:
    make_books(12)

    assert [as_told(book) for book in eager(books(), *PATHS)] == [as_told(book) for book in books()]


@pytest.mark.parametrize(
    "narrowed",
    [
        lambda queryset: queryset.filter(title__endswith="1"),
        lambda queryset: queryset[2:5],
        lambda queryset: queryset.order_by("-title"),
        lambda queryset: queryset.none(),
        lambda queryset: queryset.distinct(),
    ],
)
def test_it_keeps_what_the_queryset_selects(narrowed: Callable[[QuerySet[Book]], QuerySet[Book]]) -> None:
    make_books(6)

    assert list(eager(narrowed(books()), "publisher", "authors")) == list(narrowed(books()))


def test_it_keeps_eager_loading_that_is_already_there() -> None:
    make_books(3)
    queryset = eager(books().prefetch_related("labels"), "publisher")

    with CaptureQueriesContext(connection) as captured:
        [(book.publisher.name, list(book.labels.all())) for book in queryset]

    assert len(captured) == 2


ALREADY: dict[str, Callable[[QuerySet[Book]], QuerySet[Book]]] = {
    "itself": lambda queryset: eager(queryset, "review_set__critic"),
    "the same path": lambda queryset: queryset.prefetch_related("review_set"),
    "a nested path": lambda queryset: queryset.prefetch_related("review_set__critic__mentor"),
    "an empty Prefetch": lambda queryset: queryset.prefetch_related(Prefetch("review_set")),
}


@pytest.mark.parametrize("loaded", ALREADY.values(), ids=ALREADY)
def test_it_goes_on_from_what_is_loaded_already(loaded: Callable[[QuerySet[Book]], QuerySet[Book]]) -> None:
    make_books(8)
    queryset = eager(loaded(books()), "review_set__critic", "review_set__book__publisher", "authors__mentor")

    with CaptureQueriesContext(connection) as captured:
        told = [
            (
                as_told(book)["reviews"],
                as_told(book)["authors"],
                [r.book.publisher.name for r in book.review_set.all()],
            )
            for book in queryset.select_related("publisher", "editor__its_profile").prefetch_related("labels")
        ]

    assert [reviews for reviews, _, _ in told] == [as_told(book)["reviews"] for book in books()]
    assert [authors for _, authors, _ in told] == [as_told(book)["authors"] for book in books()]
    assert len(captured) <= 5


def test_it_keeps_the_filter_and_order_of_a_prefetch() -> None:
    make_books(8)
    best = Prefetch("review_set", queryset=Review.objects.filter(stars__gte=1).order_by("-stars"))

    with CaptureQueriesContext(connection) as captured:
        found = [
            [(review.stars, review.critic.name) for review in book.review_set.all()]
            for book in eager(books().prefetch_related(best), "review_set__critic")
        ]

    assert len(captured) == 2
    assert found == [
        [(r.stars, r.critic.name) for r in book.review_set.filter(stars__gte=1).order_by("-stars")]
        for book in books()
    ]


def test_it_loads_to_many_relations_of_a_joined_row() -> None:
    make_books(3)

    with CaptureQueriesContext(connection) as captured:
        found = [
            sorted(author.name for author in review.book.authors.all())
            for review in eager(Review.objects.order_by("pk"), "book__authors")
        ]

    assert len(captured) == 2
    assert found == [
        sorted(author.name for author in review.book.authors.all())
        for review in Review.objects.order_by("pk")
    ]


def test_it_follows_generic_foreign_keys() -> None:
    make_books(3)

    with CaptureQueriesContext(connection) as captured:
        titles = [label.target.title for label in eager(Label.objects.order_by("pk"), "target")]

    assert titles == ["book 0", "book 1", "book 2"]
    assert len(captured) <= 3  # the labels, their content type, the books


def test_it_asks_nothing_before_the_rows_are_wanted() -> None:
    with CaptureQueriesContext(connection) as captured:
        eager(books(), *PATHS)

    assert len(captured) == 0


def test_it_refuses_a_wrong_path_before_any_query() -> None:
    with (
        CaptureQueriesContext(connection) as captured,
        pytest.raises(RelationPathError, match="Did you mean 'authors'"),
    ):
        eager(books(), "autors")

    assert len(captured) == 0
