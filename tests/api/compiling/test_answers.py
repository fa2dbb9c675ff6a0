"""Which querysets are shown without instances, and on which database they are asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from django.db.models import Count, Prefetch, Q, QuerySet, Value
from ninja import Schema

from perfkit.api.compiling.answers import Shown, shown_of
from perfkit.api.compiling.driving import finished
from perfkit.api.compiling.nodes import NotCompiledError
from perfkit.api.compiling.statements import asked_of, forget_statements
from perfkit.api.compiling.walks import way_of
from perfkit.api.keysets.pages import Walk
from perfkit.caching.queryset import as_cached
from perfkit.hydration import FastQuerySetMixin
from perfkit.loading import RelatedRows
from tests.testapp.loading import Book, Person, Publisher, Review

pytestmark = pytest.mark.django_db


class BookOut(Schema):
    id: int
    title: str


class StarsOut(Schema):
    stars: int


class NoneBelowOut(BookOut):
    none: Annotated[list[StarsOut], RelatedRows("review_set", filter=Q(pk__in=[]))]


class OwnQuerySet(FastQuerySetMixin[Any]):
    """A project's, which shows more than the database has."""

    def __iter__(self) -> Any:
        return iter([*super().__iter__(), Book(title="more")])


@pytest.fixture
def books() -> list[Book]:
    publisher = Publisher.objects.create(name="Press")
    critic = Person.objects.create(name="critic")
    books = [Book.objects.create(title=f"book {number}", publisher=publisher) for number in range(4)]
    for stars, book in enumerate(books[:3]):
        Review.objects.create(book=book, critic=critic, stars=stars)
    return books


def shown(queryset: QuerySet[Any], schema: type = BookOut) -> Shown:
    return shown_of(queryset, schema, dialect="values")


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (Book.objects.distinct, "distinct"),
        (lambda: Book.objects.all().union(Book.objects.all()), "a union"),
        (Book.objects.select_for_update, "locks its rows"),
        (lambda: Book.objects.extra(where=["true"], select={"one": "1"}), "extra"),
        (Book.objects.values, "no instances"),
        (lambda: Book.objects.values_list("id"), "no instances"),
        (lambda: Book.objects.prefetch_related(Prefetch("authors", Person.objects.none())), "chooses which"),
        (lambda: as_cached(Book.objects.all(), ttl=60), "from the cache"),
        (lambda: OwnQuerySet(Book), "has its own __iter__"),
        (lambda: evaluated(Book.objects.all()), "there already"),
    ],
)
def test_what_is_no_plain_list_is_left_to_instances(made: Callable[[], QuerySet[Any]], reason: str) -> None:
    with pytest.raises(NotCompiledError, match=reason):
        shown(made())


def evaluated(queryset: QuerySet[Any]) -> QuerySet[Any]:
    list(queryset)
    return queryset


@pytest.mark.parametrize(
    "made",
    [
        lambda: Book.objects.order_by("-title"),
        lambda: Book.objects.filter(title__in=["book 1", "book 3", "none"]),
        lambda: Book.objects.filter(title__in=[]),
        Book.objects.none,
        lambda: Book.objects.exclude(title="book 2"),
        lambda: Book.objects.filter(Q(title="book 1") | ~Q(title__contains="%")),
        lambda: Book.objects.filter(Q(title="book 1") ^ Q(title="book 2")),
        lambda: Book.objects.filter(publisher__name="Press", editor=None),
        lambda: Book.objects.filter(pk__gte=-(2**70)),
        lambda: Book.objects.filter(pk__lte=-(2**70)),
        lambda: Book.objects.filter(authors=None).only("title", "publisher").select_related("publisher"),
        lambda: Book.objects.annotate(n=Count("review")).filter(n__gte=1),
        lambda: Book.objects.annotate(one=Value(1)).filter(one=1).prefetch_related("authors"),
        lambda: Book.objects.order_by("pk")[1:3],
        lambda: Book.objects.order_by("pk")[2:],
        lambda: Publisher.objects.get().books.all(),  # noqa: PLW0108  # asked when it is there
        lambda: Book.objects.filter(review__stars__in=Review.objects.filter(stars__lte=1).values("stars")),
    ],
)
def test_it_shows_the_rows_that_django_shows(books: list[Book], made: Callable[[], QuerySet[Any]]) -> None:
    expected = [{"id": book.pk, "title": book.title} for book in made()]
    for _ in range(3):
        found = finished(shown(made()).items(made()))
        assert sorted(found, key=lambda item: item["id"]) == sorted(expected, key=lambda item: item["id"])
        if made().query.order_by:
            assert found == expected


@pytest.mark.parametrize("value", [True, False, None])
def test_a_value_that_changes_the_text_has_a_statement_of_its_own(
    books: list[Book], value: bool | None
) -> None:
    Book.objects.filter(pk=books[0].pk).update(editor=Person.objects.get())
    for each in (True, value, False, value):
        queryset = Book.objects.filter(editor__isnull=bool(each)).order_by("pk")
        assert [item["id"] for item in finished(shown(queryset).items(queryset))] == [
            book.pk for book in queryset
        ]


def test_statements_of_other_values_are_made_once(books: list[Book], monkeypatch: pytest.MonkeyPatch) -> None:
    forget_statements()
    made: list[str] = []
    from django.db.models.sql.compiler import SQLCompiler

    as_sql = SQLCompiler.as_sql
    monkeypatch.setattr(
        SQLCompiler,
        "as_sql",
        lambda self, *args, **kwargs: (made.append("x"), as_sql(self, *args, **kwargs))[1],
    )
    for number in range(5):
        queryset = Book.objects.filter(title=f"book {number}", pk__gte=number).order_by("-title")[:3]
        items = finished(shown(queryset).items(queryset))
        assert len(items) == (number < 4)
    assert len(made) == 1


def test_cursors_of_other_places_take_no_new_statement(
    books: list[Book], monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_statements()
    queryset = Book.objects.order_by("pk")
    cursor, found, made = None, [], []
    from django.db.models.sql.compiler import SQLCompiler

    as_sql = SQLCompiler.as_sql
    monkeypatch.setattr(
        SQLCompiler,
        "as_sql",
        lambda self, *args, **kwargs: (made.append("x"), as_sql(self, *args, **kwargs))[1],
    )
    counts = []
    for _ in range(4):
        page = finished(shown(queryset).keyset(queryset, cursor, 1, scope=""))
        found += [item["id"] for item in page.items]
        cursor = page.next
        counts.append(len(made))
    assert found == [book.pk for book in books]
    assert counts[1:] == [2, 2, 2]  # the first page, and all that stand after a place


def test_rows_below_of_which_there_can_be_none_are_an_empty_list(books: list[Book]) -> None:
    queryset = Book.objects.order_by("pk")
    assert [item["none"] for item in finished(shown(queryset, NoneBelowOut).items(queryset))] == [[]] * 4


class Router:
    """Counts how often it is asked for a database."""

    asked = 0

    def db_for_read(self, model: type[Any], **hints: Any) -> str:
        Router.asked += 1
        return "default"


def test_the_database_of_an_answer_is_chosen_once(books: list[Book], settings: Any) -> None:
    """A router may name another replica each time."""
    queryset = Book.objects.order_by("pk")
    walk = Walk("testapp.Book", way_of(queryset, ("id",)).steps.keys, None, 2, scope="")
    settings.DATABASE_ROUTERS = ["tests.api.compiling.test_answers.Router"]
    for ask in (
        lambda: asked_of(queryset, ("id",)),
        lambda: list(way_of(queryset, ("id",)).segments(walk)),
    ):
        Router.asked = 0
        ask()
        assert Router.asked == 1
