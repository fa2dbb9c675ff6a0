"""A plan for a schema reads what the schema reads, and says what it cannot see to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Optional

import msgspec
import pydantic
import pytest
from django.db import connection, models
from django.db.models import Prefetch, Q
from django.test.utils import CaptureQueriesContext
from ninja import Field, ModelSchema, Schema
from pydantic import AliasChoices, AliasPath, BeforeValidator, field_validator, model_validator

from perfkit.errors import SchemaFieldError, SchemaPlanError
from perfkit.loading import RelatedCount, RelatedMax, RelatedRows, from_schema, needs, schema_plan
from project.flights.models import Flight
from project.flights.schemas import FlightDetail, FlightOut
from tests.loading.schemas import FromAttributes, as_json
from tests.loading.test_eager_loading import make_books
from tests.testapp.loading import Book, Guest, Inn, Label, Person, Place, Publisher, Review

pytestmark = pytest.mark.django_db


class Name(Schema):
    name: str


class PersonOut(Name):
    mentor: Name | None = None


class ReviewOut(Schema):
    stars: int
    critic: Name


class CountedPublisher(Schema):
    name: str
    books_count: Annotated[int, RelatedCount("books")]


class Later(Schema):
    id: int
    houses: "Optional[House]" = Field(None, alias="publisher")  # noqa: UP037, UP045  # resolved later


class House(Schema):
    name: str


class Tree(Schema):
    name: str
    pupils: list[Tree]


class BookKeys(ModelSchema):
    class Meta:
        model = Book
        fields = ["id", "title", "publisher", "authors"]


def made(*, of: type = Schema, **fields: Any) -> type:
    """Return a schema with these fields."""
    return pydantic.create_model("Made", __base__=of, **fields)


COLUMNS: dict[str, tuple[type[models.Model], type, tuple[str, ...]]] = {
    "its columns and the key": (Book, made(title=(str, ...)), ("id", "title")),
    "the key by its own name": (Book, made(pk=(int, ...)), ("id",)),
    "the key of a relation": (Book, made(publisher_id=(int, ...)), ("id", "publisher")),
    "a joined row": (
        Book,
        made(editor=(PersonOut | None, None)),
        (
            "id",
            "editor",
            *("editor__id", "editor__name", "editor__mentor"),
            *("editor__mentor__id", "editor__mentor__name"),
        ),
    ),
    "a dotted alias": (
        Book,
        made(house=(str, Field(alias="publisher.name"))),
        ("id", "publisher", "publisher__id", "publisher__name"),
    ),
    "a path of aliases": (
        Book,
        made(of=FromAttributes, house=(str, Field(validation_alias=AliasPath("publisher", "name")))),
        ("id", "publisher", "publisher__id", "publisher__name"),
    ),
    "the first alias that is there": (
        Book,
        made(of=FromAttributes, name=(str, Field(validation_alias=AliasChoices("nothing", "title")))),
        ("id", "title"),
    ),
    "an alias that is only written": (
        Book,
        made(title=(str, Field(serialization_alias="t"))),
        ("id", "title"),
    ),
    "a type that is known later": (Book, Later, ("id", "publisher", "publisher__id", "publisher__name")),
    "a property's needs": (
        Person,
        made(signature=(str, ...)),
        ("id", "name", "mentor", "mentor__id", "mentor__name"),
    ),
    "a method's needs": (Book, made(tags=(list[str], ...)), ("id",)),
    "a display": (
        Flight.reports.rel.related_model,
        made(get_kind_display=(str, ...)),
        ("id", "kind"),
    ),
    "a property without needs": (Person, made(shout=(str, ...)), ("id", "name", "mentor")),
    "a relation as it is": (
        Review,
        made(critic=(Any, ...)),
        ("id", "critic", "critic__id", "critic__name", "critic__mentor"),
    ),
    "a schema of a model": (Book, BookKeys, ("id", "title", "publisher")),
    "an expression": (Publisher, made(n=(Annotated[int, RelatedCount("books")], ...)), ("id",)),
    "a value that needs nothing": (Publisher, made(n=(Annotated[int | None, needs()], None)), ("id",)),
    "a Struct": (
        Book,
        msgspec.defstruct("Struct", [("title", str), ("publisher_id", int)], rename="camel"),
        ("id", "title", "publisher"),
    ),
}


@pytest.mark.parametrize(("model", "schema", "only"), COLUMNS.values(), ids=COLUMNS)
def test_it_reads_no_other_column(model: type[models.Model], schema: type, only: tuple[str, ...]) -> None:
    found = schema_plan(model, schema).only

    assert found is not None
    assert set(found) == set(only)


def shelf(count: int = 6) -> models.QuerySet[Book]:
    make_books(count)
    return Book.objects.order_by("pk")


def answered(schema: type, rows: models.QuerySet[Any], *given: str) -> Any:
    """Serialise in the planned queries, no other."""
    planned = from_schema(rows, schema)
    with CaptureQueriesContext(connection) as captured:
        told = as_json(planned, schema)
    assert len(captured) <= schema_plan(rows.model, schema, frozenset(given)).query_count + len(
        rows._prefetch_related_lookups
    )
    return told


class TestCounted:
    class BookOut(Schema):
        title: str
        publisher: CountedPublisher
        reviews_count: Annotated[int, RelatedCount("review_set", filter=Q(stars__gte=1))]
        best: Annotated[int | None, RelatedMax("review_set", "stars")] = None

    class Listed(Schema):
        name: str
        books: list[TestCounted.BookOut]

    def test_it_annotates_rows_of_every_level(self) -> None:
        books = list(shelf())

        told = answered(self.BookOut, shelf(0))

        assert told == sorted(
            (
                {
                    "title": book.title,
                    "publisher": {"name": book.publisher.name, "books_count": book.publisher.books.count()},
                    "reviews_count": book.review_set.filter(stars__gte=1).count(),
                    "best": max((review.stars for review in book.review_set.all()), default=None),
                }
                for book in books
            ),
            key=str,
        )
        assert [house["books"] for house in answered(self.Listed, Publisher.objects.all())] == [
            [book] for book in told
        ]

    def test_it_explains_why_the_row_is_not_joined(self) -> None:
        told = schema_plan(Book, self.BookOut).explain()

        assert "query publisher: foreign key, its row is annotated; one more query for all of them" in told
        assert "annotation books_count = RelatedCount('books'): in the same query" in told


class BookResolved(Schema):
    title: str
    reviews: list[ReviewOut]
    shouted: str
    worst: int | None
    critics: str

    @staticmethod
    @needs("review_set")
    def resolve_reviews(book: Book) -> list[Review]:
        return sorted(book.review_set.all(), key=lambda review: -review.stars)

    @needs("title")
    @staticmethod
    def resolve_shouted(book: Book) -> str:
        return book.title.upper()

    @staticmethod
    @needs("review_set__stars")
    def resolve_worst(book: Book) -> int | None:
        return min((review.stars for review in book.review_set.all()), default=None)

    @staticmethod
    @needs(RelatedRows("review_set", "critic", order_by="-stars", limit=2, to_attr="top_two"))
    def resolve_critics(book: Book) -> str:
        rows = getattr(book, "top_two", None)
        rows = book.review_set.order_by("-stars", "pk")[:2] if rows is None else rows
        return ", ".join(review.critic.name for review in rows)


class Housed(Schema):
    house: str

    @staticmethod
    @needs("publisher")
    def resolve_house(book: Book) -> str:
        return book.publisher.name


class Undeclared(Schema):
    title: str
    shouted: str

    @staticmethod
    def resolve_shouted(book: Book) -> str:
        return f"{book.title}{book.publisher_id}".upper()


def test_it_loads_what_resolvers_declare_and_what_is_made_of_their_rows() -> None:
    plain = as_json(shelf(), BookResolved)

    assert answered(BookResolved, shelf(0)) == plain
    plan = schema_plan(Book, BookResolved)
    assert set(plan.only or ()) == {"id", "title"}
    assert plan.query_count == 3
    assert answered(Housed, Book.objects.order_by("pk")) == [
        {"house": f"house {number}"} for number in range(6)
    ]
    [joins] = {below.joins for path, below in plan.queries if below and not below.rows}
    assert joins == ("critic",)


def test_it_loads_whole_rows_for_a_resolver_that_declares_nothing() -> None:
    plain = as_json(shelf(), Undeclared)

    assert answered(Undeclared, shelf(0)) == plain
    plan = schema_plan(Book, Undeclared)
    assert "  all 4 columns" in plan.explain().splitlines()
    assert (
        "  ! all columns: Undeclared.resolve_shouted declares no needs; what it reads of relations is not loaded"
        in plan.explain().splitlines()
    )


class Sorted(FromAttributes):
    stars: Annotated[list[int], BeforeValidator(lambda rows: sorted(row.stars for row in rows.all()))] = (
        Field(validation_alias="review_set")
    )
    authors: list[str]

    @field_validator("authors", mode="before")
    @classmethod
    @needs("authors__mentor__name")
    def names(cls, rows: Any) -> list[str]:
        return sorted(person.mentor.name if person.mentor else "" for person in rows.all())


class Whole(FromAttributes):
    title: str
    house: str = ""

    @model_validator(mode="before")
    @classmethod
    def of_book(cls, book: Any) -> Any:
        return {"title": book.title, "house": str(book.publisher_id)}


def test_it_loads_what_validators_read() -> None:
    plain = as_json(shelf(), Sorted), as_json(Book.objects.all(), Whole)

    assert (answered(Sorted, shelf(0)), answered(Whole, shelf(0))) == plain
    plan = schema_plan(Book, Sorted)
    assert {path: below.only for path, below in plan.queries if below} == {
        "review_set": ("id", "book", "critic", "stars"),
        "authors": ("id", "mentor", "mentor__id", "mentor__name"),
    }
    assert "Whole.of_book declares no needs" in schema_plan(Book, Whole).explain()


class Top(msgspec.Struct):
    stars: int
    critic: "Critic | None"  # noqa: UP037  # known later


class Critic(msgspec.Struct):
    name: str


class StructOut(msgspec.Struct):
    title: str
    top: Annotated[list[Top], RelatedRows("review_set", order_by="-stars", limit=2)]
    reviews: Annotated[int, RelatedCount("review_set")]


class PlainTop(FromAttributes):
    stars: int
    critic: Annotated[dict[str, Any], BeforeValidator(lambda critic: {"name": critic.name})]


class PlainOut(FromAttributes):
    title: str
    top: Annotated[list[PlainTop], RelatedRows("review_set", order_by="-stars", limit=2)]
    reviews: Annotated[int, RelatedCount("review_set")]


@pytest.mark.parametrize("schema", [StructOut, PlainOut])
def test_it_lists_some_rows_for_schemas_that_cannot_ask_a_manager(schema: type) -> None:
    books = list(shelf())

    told = answered(schema, shelf(0))

    assert {
        book["title"]: (book["reviews"], sorted(each["stars"] for each in book["top"])) for book in told
    } == {
        book.title: (
            book.review_set.count(),
            sorted(review.stars for review in book.review_set.order_by("-stars", "pk")[:2]),
        )
        for book in books
    }
    assert all(set(each["critic"]) == {"name"} for book in told for each in book["top"])


class Starred(Schema):
    title: str
    review_set: Annotated[list[ReviewOut], RelatedRows("review_set", order_by=("-stars", "-id"))]


def test_it_lists_a_relation_in_an_order_under_its_own_name() -> None:
    planned = from_schema(shelf(), Starred)
    with CaptureQueriesContext(connection) as captured:
        told = [Starred.from_orm(book) for book in planned]

    stars = [[review.stars for review in book.review_set] for book in told]
    assert stars == [[], [0], [1, 0], [2, 1, 0], [], [0]]
    assert len(captured) == schema_plan(Book, Starred).query_count == 2


def test_it_serves_a_generic_foreign_key() -> None:
    shelf()
    schema = made(text=(str, ...), target=(made(title=(str, ...), publisher_id=(int, ...)), ...))
    plain = as_json(Label.objects.all(), schema)

    with CaptureQueriesContext(connection) as captured:
        assert as_json(from_schema(Label.objects.all(), schema), schema) == plain

    assert len(captured) <= 3  # the labels, their content type, the books
    assert "! all columns of each model" in schema_plan(Label, schema).explain()


def test_it_takes_annotations_and_lists_of_the_queryset_for_attributes() -> None:
    books = shelf().annotate(n=models.Count("authors"))
    listed = books.prefetch_related(
        Prefetch("review_set", queryset=Review.objects.select_related("critic"), to_attr="listed")
    )

    assert {book["n"] for book in answered(made(title=(str, ...), n=(int, ...)), books, "n")} == {2}
    assert len(answered(made(listed=(list[ReviewOut], ...)), listed, "listed")) == 6
    with pytest.raises(SchemaFieldError, match="reads 'n'"):
        from_schema(Book.objects.all(), made(n=(int, ...)))


@pytest.mark.parametrize(
    "loaded",
    [
        lambda rows: rows.select_related("editor__mentor"),
        lambda rows: rows.select_related("publisher"),
        lambda rows: rows.prefetch_related("editor__pupils", "review_set"),
        lambda rows: rows.defer("title"),
        lambda rows: rows.select_related("publisher").defer("title"),
        lambda rows: rows.only("editor"),
        lambda rows: rows.defer("title").only("editor"),
    ],
)
def test_it_keeps_what_the_queryset_loads(
    loaded: Callable[[models.QuerySet[Book]], models.QuerySet[Book]],
) -> None:
    class Out(Schema):
        title: str
        publisher: Name
        review_set: list[ReviewOut]

    rows = from_schema(loaded(shelf()), Out)
    with CaptureQueriesContext(connection) as captured:
        books = list(rows)
        as_json(rows, Out)
    loads = 2 + len(loaded(Book.objects.all())._prefetch_related_lookups)
    assert len(captured) == loads
    if loads == 4:
        with CaptureQueriesContext(connection) as captured:
            assert [list(book.editor.pupils.all()) for book in books if book.editor]
        assert len(captured) == 0


class PlaceOut(Schema):
    name: str
    n: Annotated[int, RelatedCount("dwellers")]


class PartOut(Schema):
    label: str

    @staticmethod
    def resolve_label(place: Place) -> str:
        return place.name


class GuestOut(Schema):
    home: PlaceOut


class InnOut(Schema):
    parts: list[PartOut]
    guests: list[GuestOut]


def test_it_goes_by_the_managers_that_django_goes_by() -> None:
    inn = Inn.objects.create(code="inn", name="inn", stars=1)
    closed = Place.objects.create(code="closed", name="closed", above=inn)
    Place.objects.create(code="open", name="open", above=inn)
    Guest.objects.create(inn=inn, home=closed, name="guest")

    assert answered(InnOut, Inn.objects.all()) == [
        {"parts": [{"label": "open"}], "guests": [{"home": {"name": "closed", "n": 1}}]}
    ]


def test_it_takes_a_list_of_a_schema_and_is_planned_once() -> None:
    assert len(from_schema(shelf(), list[Later])) == 6
    assert schema_plan(Book, Later) is schema_plan(Book, Later)
    assert hash(schema_plan(Flight, FlightOut)) == hash(schema_plan(Flight, FlightOut))


def test_it_plans_the_schemas_of_the_demo() -> None:
    plan = schema_plan(Flight, FlightOut)

    assert plan.query_count == 1
    assert plan.joins == ("airline", "origin", "destination", "plane")
    assert "minute" not in (plan.only or ())
    assert "reports" in dict(schema_plan(Flight, FlightDetail).queries)
    assert "in the order -created_at, -id" in schema_plan(Flight, FlightDetail).explain()


def test_it_reads_all_columns_where_the_model_reads_them_itself() -> None:
    class Remembered(Publisher):
        class Meta:
            proxy = True
            app_label = "testapp"

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.former = self.name

    shelf()
    schema = made(id=(int, ...))

    assert len(answered(schema, Remembered.objects.all())) == 6
    assert (
        "testapp.Remembered has its own __init__, which may read any"
        in schema_plan(Remembered, schema).explain()
    )


class Wrong(Schema):
    title: str

    @staticmethod
    @needs("publisher__nmae")
    def resolve_title(book: Book) -> str:
        return book.publisher.name


@pytest.mark.parametrize(
    ("model", "schema", "message"),
    [
        (
            Book,
            made(titles=(str, ...)),
            "Made.titles reads 'titles', which testapp.Book does not have. Did you mean 'title'?",
        ),
        (Book, made(titles=(str | None, None)), "Did you mean 'title'?"),
        (
            Book,
            made(editor=(made(nam=(str, ...)), ...)),
            "Made.nam reads 'nam', which testapp.Person does not have. Did you mean 'name'?",
        ),
        (Book, made(x=(str, Field(alias="publisher.nmae"))), "Made.x reads 'nmae', which testapp.Publisher"),
        (
            Book,
            Wrong,
            "Wrong.resolve_title reads 'nmae', which testapp.Publisher does not have. Did you mean 'name'?",
        ),
        (Person, msgspec.defstruct("Struct", [("its_profile", Any)]), "Did you mean 'profile'?"),
        (Label, made(target=(made(x=(str, Field(alias="a.b"))), ...)), "'x' reads a relation of what"),
        (Person, Tree, "Tree: it contains itself (Tree > Tree)"),
        (
            Book,
            made(x=(str, Field(alias="review_set.first"))),
            "it asks the manager 'review_set' for 'first'",
        ),
        (
            Book,
            made(title=(Annotated[int, RelatedCount("authors")], ...)),
            "'title' is an attribute of testapp.Book",
        ),
        (Book, made(x=(Annotated[list[Name], RelatedRows("authors", to_attr="y")], ...)), "and held as 'x'"),
        (
            Book,
            made(authors=(Annotated[list[Name], RelatedRows("authors", limit=2)], ...)),
            "'authors' is an attribute of testapp.Book",
        ),
        (Book, dict, "dict: it is no schema"),
        (Book, msgspec.defstruct("Struct", [("title", "Nowhere")]), "a type that it names cannot be found"),
    ],
)
def test_it_refuses_what_it_cannot_load(model: type[models.Model], schema: type, message: str) -> None:
    with (
        CaptureQueriesContext(connection) as captured,
        pytest.raises((SchemaFieldError, SchemaPlanError)) as caught,
    ):
        from_schema(model.objects.all(), schema)

    assert message in str(caught.value)
    assert len(captured) == 0


def test_a_property_that_needs_itself_is_refused() -> None:
    class Circular(Publisher):
        class Meta:
            proxy = True
            app_label = "testapp"

        @property
        @needs("second")
        def first(self) -> str:
            return self.second

        @property
        @needs("first")
        def second(self) -> str:
            return self.first

    with pytest.raises(SchemaPlanError, match=r"Circular\.first: it declares that it needs itself"):
        schema_plan(Circular, made(first=(str, ...)))
