"""Lists without pages, single rows, and answers with some of the fields only."""

from __future__ import annotations

import json

import pytest
from django.core.exceptions import MultipleObjectsReturned
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from perfkit.api.compiling.responses import verdicts
from tests.testapp.loading import Book, Person, Publisher, Review

pytestmark = [
    pytest.mark.urls("tests.api.compiling.views"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("_connection"),
]
ROOTS = ["/api/", "/tagged/"]
WAYS = ["", "async-"]


@pytest.fixture
def book() -> Book:
    editor = Person.objects.create(name="Ed", mentor=Person.objects.create(name="Me"))
    book = Book.objects.create(title="One", publisher=Publisher.objects.create(name="Press"), editor=editor)
    Book.objects.create(title="Two", publisher=book.publisher)
    book.authors.add(editor)
    Review.objects.create(book=book, critic=editor, stars=4)
    Review.objects.create(book=book, critic=editor, stars=5)
    return book


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["one/{pk}", "all"])
def test_it_answers_as_ninja_does(client: Client, book: Book, root: str, way: str, path: str) -> None:
    address = path.format(pk=book.pk)
    with verdicts() as found:
        compiled = client.get(f"{root}{way}{address}")
    plain = client.get(f"{root}plain-{address}")
    assert compiled.status_code == 200
    assert compiled.content == plain.content
    if not way:  # the verdict of an async view is told in another context
        assert [verdict.reason for verdict in found] == [""]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["one/0", "resolved-one/0"])
def test_a_row_that_is_not_there_is_a_404(client: Client, book: Book, way: str, path: str) -> None:
    response = client.get(f"/api/{way}{path}")
    assert response.status_code == 404
    assert response.json() == {"detail": "Not Found"}


@pytest.mark.parametrize("path", ["several", "resolved-several"])
def test_several_rows_where_one_is_shown_are_an_error(client: Client, book: Book, path: str) -> None:
    with pytest.raises(MultipleObjectsReturned, match="More than one Book"):
        client.get(f"/api/{path}")


@pytest.mark.parametrize("way", WAYS)
def test_what_is_made_of_instances_is_loaded_in_a_query_for_each_level(
    client: Client, book: Book, way: str
) -> None:
    with CaptureQueriesContext(connection) as queries:
        response = client.get(f"/api/{way}resolved-one/{book.pk}")
    assert response.json() == {"title": "ONE", "publisher": {"name": "Press"}, "stars": [4, 5]}
    assert len(queries) == 2


def test_what_is_no_queryset_is_left_to_ninja(client: Client, book: Book) -> None:
    assert client.get("/api/other").json() == {"id": 7, "name": "no queryset"}


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize(
    "path", ["partial-one/{pk}", "partial-resolved/{pk}", "partial-books", "partial-all"]
)
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("title", {"title": "One"}),
        ("title,publisher.name", {"title": "One", "publisher": {"name": "Press"}}),
        ("publisher,title,title", {"title": "One", "publisher": {"name": "Press"}}),
        (" title , editor.mentor.name", {"title": "One", "editor": {"mentor": {"name": "Me"}}}),
        ("authors.name", {"authors": [{"name": "Ed"}]}),
    ],
)
def test_it_has_the_fields_that_are_asked_for(
    client: Client, book: Book, root: str, path: str, fields: str, expected: dict[str, object]
) -> None:
    response = client.get(root + path.format(pk=book.pk), {"fields": fields})
    assert response.status_code == 200, response.content
    answer = json.loads(response.content)
    answer = answer.get("data", answer) if isinstance(answer, dict) else answer
    item = answer["items"][0] if "items" in answer else answer[0] if isinstance(answer, list) else answer
    assert item == expected
    if root == "/api/":
        assert list(item) == [name for name in ("title", "publisher", "editor", "authors") if name in item]


def test_it_reads_the_columns_of_these_alone(client: Client, book: Book) -> None:
    with CaptureQueriesContext(connection) as queries:
        client.get("/api/partial-books", {"fields": "title"})
    assert len(queries) == 2  # the count and the rows
    assert "publisher" not in queries[1]["sql"]
    assert "JOIN" not in queries[1]["sql"]


@pytest.mark.parametrize("path", ["partial-one/1", "partial-resolved/1", "partial-books"])
@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("colour", "Unknown field 'colour'. Allowed: id, title, publisher"),
        ("publisher.town", "Unknown field 'town'. Allowed of publisher: name."),
        ("title.x", "Unknown field 'x'. Nothing is nested there of title."),
        ("", "Unknown field ''."),
        ("title,", "Unknown field ''."),
        (",".join(f"f{number}" for number in range(201)), "More than 200 fields"),
        ("x" * 5000, "at most 4000 characters"),
    ],
)
def test_an_unknown_field_is_a_422_that_lists_the_allowed(
    client: Client, book: Book, path: str, fields: str, problem: str
) -> None:
    response = client.get(f"/api/{path}", {"fields": fields})
    assert response.status_code == 422
    [detail] = response.json()["detail"]
    assert detail["loc"][-1] == "fields"
    assert problem in detail["msg"]


def test_the_documentation_shows_the_parameter(client: Client) -> None:
    paths = client.get("/api/openapi.json").json()["paths"]
    [parameter] = [
        each for each in paths["/api/partial-books"]["get"]["parameters"] if each["name"] == "fields"
    ]
    assert parameter["in"] == "query"
    assert not parameter["required"]
