"""Aggregates of related rows equal what one counts by hand, whatever else is aggregated beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import FieldError
from django.db.models import F, Q
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.errors import RelationPathError
from perfkit.loading import RelatedAvg, RelatedCount, RelatedMax, RelatedMin, RelatedSum
from tests.testapp.loading import Book, Label, Person, Publisher, Review

pytestmark = pytest.mark.django_db

STARS = st.lists(st.integers(0, 5), max_size=4)
BOOKS = st.lists(st.tuples(STARS, st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4)


def make(books: list[tuple[list[int], int, int]]) -> list[Book]:
    for model in (Review, Label, Book, Person, Publisher):
        model.objects.all().delete()
    house = Publisher.objects.create(name="house")
    critic = Person.objects.create(name="critic")
    people = [Person.objects.create(name=f"p{number}", mentor=critic) for number in range(3)]
    made = []
    for number, (stars, authors, labels) in enumerate(books):
        book = Book.objects.create(title=str(number), publisher=house, editor=people[0] if authors else None)
        Review.objects.bulk_create([Review(book=book, critic=critic, stars=each) for each in stars])
        book.authors.set(people[:authors])
        for label in range(labels):
            Label.objects.create(target=book, text=f"l{label}")
        made.append(book)
    return made


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(books=BOOKS, least=st.integers(0, 5), most=st.integers(0, 5))
def test_they_are_what_one_counts_by_hand(
    books: list[tuple[list[int], int, int]], least: int, most: int
) -> None:
    make(books)
    found = Book.objects.order_by("pk").annotate(
        reviews=RelatedCount("review_set"),
        good=RelatedCount("review_set", filter=Q(stars__gte=least) & ~Q(stars=most) | Q(critic__name="x")),
        total=RelatedSum("review_set", "stars", default=0),
        mean=RelatedAvg("review_set", "stars"),
        worst=RelatedMin("review_set", "stars"),
        best=RelatedMax("review_set", "stars"),
        writers=RelatedCount("authors"),
        labelled=RelatedCount("labels", filter=Q(text="l1")),
        mentors=RelatedCount("authors__mentor"),
        edited=RelatedCount("editor"),
    )
    names = (
        *("reviews", "good", "total", "mean", "worst", "best"),
        *("writers", "labelled", "mentors", "edited"),
    )
    assert list(found.values_list(*names)) == [
        (
            len(stars),
            sum(each >= least and each != most for each in stars),
            sum(stars),
            sum(stars) / len(stars) if stars else None,
            min(stars, default=None),
            max(stars, default=None),
            authors,
            int(labels > 1),
            authors,
            int(authors > 0),
        )
        for stars, authors, labels in books
    ]


def test_they_take_no_query_of_their_own(django_assert_num_queries: Callable[[int], Any]) -> None:
    make([([1, 2], 1, 1), ([3], 2, 2)])
    with django_assert_num_queries(1):
        found = list(
            Book.objects.annotate(a=RelatedCount("review_set"), b=RelatedCount("labels")).order_by("pk")
        )
    assert [(book.a, book.b) for book in found] == [(2, 1), (1, 2)]  # type: ignore[attr-defined]


def test_they_filter_and_sort() -> None:
    make([([1, 2], 0, 0), ([3], 0, 0), ([], 0, 0), ([1, 1, 1], 0, 0)])
    found = Book.objects.annotate(n=RelatedCount("review_set")).filter(n__gte=1).order_by("-n")
    assert list(found.values_list("n", flat=True)) == [3, 2, 1]
    nested = Publisher.objects.annotate(n=RelatedCount("books__review_set"), books_n=RelatedCount("books"))
    assert [(house.n, house.books_n) for house in nested] == [(6, 4)]  # type: ignore[attr-defined]


def test_they_name_the_relation_that_is_meant() -> None:
    with pytest.raises(RelationPathError, match="Did you mean 'review_set'"):
        Book.objects.annotate(n=RelatedCount("reviews_set"))
    with pytest.raises(RelationPathError, match="'target'"):
        Label.objects.annotate(n=RelatedCount("target"))
    with pytest.raises(FieldError, match="stras"):
        Book.objects.annotate(n=RelatedSum("review_set", "stras"))
    with pytest.raises(FieldError, match="expression"):
        Book.objects.annotate(n=RelatedCount("review_set", filter=Q(stars=F("critic_id"))))


def test_they_say_what_they_are() -> None:
    assert repr(RelatedMax("review_set", "stars")) == "RelatedMax('review_set', 'stars')"
    assert repr(RelatedCount("labels")) == "RelatedCount('labels')"
    assert RelatedCount("labels") == RelatedCount("labels") != RelatedCount("authors")
