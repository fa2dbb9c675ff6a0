"""Some rows of a relation, for each parent those that one would pick from all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import FieldError
from django.db import connection
from django.db.models import F, Model, Prefetch, Q, QuerySet
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.errors import RelatedRowsError, RelationPathError
from perfkit.loading import RelatedRows, eager, plan_for
from perfkit.loading.related_rows import total
from project.flights.models import Airline
from tests.loading.test_eager_loading import make_books
from tests.testapp.loading import Book, Label, Person, Publisher, Review

pytestmark = pytest.mark.django_db

SHELF = st.lists(
    st.tuples(
        st.lists(st.integers(0, 3), max_size=5),
        st.sets(st.integers(0, 4)),
        st.lists(st.sampled_from("abc"), max_size=5),
    ),
    min_size=1,
    max_size=4,
)
RELATIONS = {
    "review_set": ("stars", Q(stars__gte=1)),
    "authors": ("name", Q(name__lt="p3")),
    "labels": ("text", ~Q(text="b")),
}


def make_shelf(shelf: list[tuple[list[int], set[int], list[str]]]) -> None:
    for model in (Review, Label, Book, Person, Publisher):
        model.objects.all().delete()
    house = Publisher.objects.create(name="house")
    people = [Person.objects.create(name=f"p{number}") for number in range(5)]
    for stars, authors, labels in shelf:
        book = Book.objects.create(title="book", publisher=house)
        Review.objects.bulk_create([Review(book=book, critic=people[0], stars=each) for each in stars])
        book.authors.set([people[number] for number in authors])
        for text in labels:
            Label.objects.create(target=book, text=text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shelf=SHELF,
    name=st.sampled_from(sorted(RELATIONS)),
    is_filtered=st.booleans(),
    sign=st.sampled_from(["", "-", None]),
    limit=st.none() | st.integers(1, 4),
)
def test_they_are_the_rows_that_one_would_pick(
    shelf: Any, name: str, is_filtered: bool, sign: str | None, limit: int | None
) -> None:
    make_shelf(shelf)
    column, condition = RELATIONS[name]
    order = () if sign is None else (f"{sign}{column}",)
    rows = RelatedRows(
        name, filter=condition if is_filtered else None, order_by=order, limit=limit, to_attr="some"
    )

    with CaptureQueriesContext(connection) as captured:
        found = [book.some for book in eager(Book.objects.order_by("pk"), rows)]

    assert len(captured) == 2
    for book, some in zip(Book.objects.order_by("pk"), found, strict=True):
        related = getattr(book, name).filter(condition) if is_filtered else getattr(book, name).all()
        if limit is not None:
            assert some == list(related.order_by(*order, "pk")[:limit])
        elif order:
            assert [getattr(row, column) for row in some] == [
                getattr(row, column) for row in related.order_by(*order)
            ]
        assert {row.pk for row in some} <= {row.pk for row in related}
        assert len(some) == min(related.count(), limit or 1000)


def test_they_load_what_is_below_them() -> None:
    make_books(8)
    best = RelatedRows("review_set", "critic", order_by="-stars", limit=2, to_attr="best")
    shelf = eager(Book.objects.order_by("pk"), "best__critic__mentor", "review_set__book", best)

    with CaptureQueriesContext(connection) as captured:
        told = [
            [(review.stars, review.critic.mentor.name) for review in book.best]  # type: ignore[attr-defined]
            for book in shelf
        ]

    assert len(captured) == 3
    assert told == [
        [(review.stars, review.critic.mentor.name) for review in book.review_set.order_by("-stars", "pk")[:2]]
        for book in Book.objects.order_by("pk")
    ]


def test_they_are_found_below_one_row_and_below_many() -> None:
    make_books(8)
    worst = RelatedRows("review_set", order_by="stars", limit=1, to_attr="worst")
    books = RelatedRows("books", worst, order_by="-title")
    houses = eager(Publisher.objects.order_by("pk"), books)
    reviews = eager(
        Review.objects.order_by("pk"), RelatedRows("book__authors", filter=Q(mentor=None), to_attr="elders")
    )

    with CaptureQueriesContext(connection) as captured:
        told = [[[each.pk for each in book.worst] for book in house.books.all()] for house in houses]  # type: ignore[attr-defined]
        elders = [[person.name for person in review.book.elders] for review in reviews]  # type: ignore[attr-defined]

    assert len(captured) == 5
    assert told == [
        [[each.pk for each in book.review_set.order_by("stars", "pk")[:1]] for book in house.books.all()]
        for house in Publisher.objects.order_by("pk")
    ]
    assert elders == [
        [person.name for person in review.book.authors.filter(mentor=None)]
        for review in Review.objects.order_by("pk")
    ]


def test_each_is_loaded_once_where_the_filter_goes_along_many() -> None:
    make_books(4)
    author = Person.objects.get(name="author 3")
    Review.objects.create(book=Book.objects.first(), critic=author, stars=5)
    liked = RelatedRows("authors", filter=Q(reviews__stars__gte=0), limit=5, to_attr="critics")

    told = {book.title: book.critics for book in eager(Book.objects.all(), liked)}  # type: ignore[attr-defined]

    assert told["book 3"] == [author]


def test_several_of_one_relation_stand_beside_each_other() -> None:
    make_books(8)
    first = RelatedRows("review_set", order_by="pk", limit=1, to_attr="first")
    last = RelatedRows("review_set", order_by="-pk", limit=1, to_attr="last")
    shelf = eager(Book.objects.order_by("pk"), first, last, "review_set")

    with CaptureQueriesContext(connection) as captured:
        told = [([*book.first, *book.last], list(book.review_set.all())) for book in shelf]  # type: ignore[attr-defined]

    assert len(captured) == 4
    for few, every in told:
        keys = sorted(review.pk for review in every)
        assert [review.pk for review in few] == [*keys[:1], *keys[-1:]]


@pytest.mark.parametrize(
    ("rows", "order"),
    [
        (Review.objects.order_by("-stars"), ["-stars", "pk"]),
        (Review.objects.order_by("-stars", "-pk", "book"), ["-stars", "-pk", "book"]),
        (Airline.objects.all(), ["code"]),
        (Airline.objects.order_by(), ["pk"]),
        (Airline.objects.order_by("name"), ["name", "pk"]),
        (Review.objects.all(), ["pk"]),
    ],
)
def test_a_limited_order_is_total(rows: QuerySet[Any], order: list[str]) -> None:
    assert total(rows) == order


def test_an_order_alone_needs_no_name() -> None:
    make_books(8)
    shelf = eager(Book.objects.order_by("pk"), RelatedRows("review_set", order_by=F("stars").desc()))

    for book in eager(shelf, "review_set__critic"):
        stars = [review.stars for review in book.review_set.all()]
        assert stars == sorted(stars, reverse=True)


def test_the_same_are_asked_for_again() -> None:
    make_books(4)
    some = RelatedRows("review_set", filter=Q(stars=1), to_attr="some")
    shelf = eager(eager(Book.objects.all(), some), some, "labels")

    with CaptureQueriesContext(connection) as captured:
        assert [len(book.some) for book in shelf] == [len(book.review_set.filter(stars=1)) for book in shelf]  # type: ignore[attr-defined]

    assert len(captured) == 3 + 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: plan_for(Book, (RelatedRows("review_set", limit=3),)),
            r"RelatedRows\('review_set'\): a limit needs a to_attr",
        ),
        (lambda: plan_for(Book, (RelatedRows("review_set", filter=Q(stars=1)),)), "a filter needs a to_attr"),
        (lambda: RelatedRows("reviews", limit=0, to_attr="some"), "a whole number from 1 on, not 0"),
        (lambda: RelatedRows("reviews", limit=True, to_attr="some"), "a whole number from 1 on, not True"),
        (lambda: RelatedRows("reviews", to_attr="so__me"), "'so__me' is no name of an attribute"),
        (lambda: plan_for(Book, (RelatedRows("publisher"),)), "publisher leads to one row"),
        (lambda: plan_for(Book, (RelatedRows("labels", to_attr="title"),)), "an attribute of testapp.Book"),
        (lambda: plan_for(Book, (RelatedRows("labels", to_attr="save"),)), "an attribute of testapp.Book"),
        (
            lambda: plan_for(
                Book, (RelatedRows("labels", to_attr="some"), RelatedRows("authors", to_attr="some"))
            ),
            "some holds other rows already",
        ),
        (
            lambda: eager(
                eager(Book.objects.all(), RelatedRows("labels", filter=Q(text="a"), to_attr="some")),
                RelatedRows("labels", filter=Q(text="b"), to_attr="some"),
            ),
            "the queryset loads other rows as some already",
        ),
        (
            lambda: eager(
                Book.objects.prefetch_related(Prefetch("labels", queryset=Label.objects.filter(text="x"))),
                RelatedRows("labels", order_by="text"),
            ),
            "the queryset loads other rows as labels already",
        ),
    ],
)
def test_they_refuse_what_does_not_fit(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(RelatedRowsError, match=message):
        make()


@pytest.mark.parametrize(
    ("model", "rows", "message"),
    [
        (Book, RelatedRows("label"), "has no relation 'label'. Did you mean 'labels'"),
        (
            Book,
            RelatedRows("publisher__boks"),
            r"'boks' \(in the path 'publisher__boks'\). Did you mean 'books'",
        ),
        (Book, RelatedRows("review_set", "critc"), r"'critc' \(in the path 'review_set__critc'\)"),
    ],
)
def test_they_name_the_nearest_right_path(model: type[Model], rows: RelatedRows, message: str) -> None:
    with pytest.raises(RelationPathError, match=message):
        plan_for(model, (rows,))


def test_a_wrong_column_is_an_error_before_any_query() -> None:
    with CaptureQueriesContext(connection) as captured:
        with pytest.raises(FieldError, match="strs"):
            eager(Book.objects.all(), RelatedRows("review_set", filter=Q(strs=1), to_attr="some"))
        with pytest.raises(FieldError, match="strs"):
            eager(Book.objects.all(), RelatedRows("review_set", order_by="strs"))

    assert len(captured) == 0


def test_a_plan_with_a_filter_is_not_kept() -> None:
    ordered = RelatedRows("review_set", order_by="-stars", limit=2, to_attr="best")
    filtered = RelatedRows("review_set", filter=Q(stars=True), to_attr="some")

    assert plan_for(Book, (ordered,)) is plan_for(Book, (ordered,))
    assert plan_for(Book, (filtered,)) == plan_for(Book, (filtered,))
    assert plan_for(Book, (filtered,)) is not plan_for(Book, (filtered,))
    assert len({plan_for(Book, (filtered,)), plan_for(Book, (filtered,)), plan_for(Book, (ordered,))}) == 2
