"""Rows by a schema outside of operations: the dicts and the JSON that ninja makes of instances."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pydantic import BaseModel, Field

from perfkit.api import (
    acompiled_json,
    acompiled_keyset,
    acompiled_rows,
    compiled_json,
    compiled_keyset,
    compiled_rows,
)
from perfkit.errors import CursorError, KeysetOrderError, PageError
from perfkit.loading import from_schema
from tests.api.compiling.loops import on_a_loop
from tests.api.compiling.views import BOOKS, BookOut, KindOut
from tests.testapp.hydration import EveryKind
from tests.testapp.loading import Book, Person, Publisher, Review

pytestmark = [pytest.mark.urls("tests.api.compiling.views"), pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _library() -> None:
    editor = Person.objects.create(name='Ed "é"', mentor=Person.objects.create(name="Me"))
    publisher = Publisher.objects.create(name="Press")
    for title in ("Two", "One", "One"):
        book = Book.objects.create(title=title, publisher=publisher, editor=editor)
        book.authors.add(editor)
        Review.objects.create(book=book, critic=editor, stars=4)
    EveryKind.plain.create(short="short", text="text")


@pytest.mark.parametrize("name", BOOKS)
def test_it_shows_what_ninja_shows(name: str) -> None:
    schema: Any
    schema, source = BOOKS[name]
    queryset = source()
    ordered = queryset if queryset.ordered else queryset.order_by("pk")
    expected = [schema.from_orm(row).dict() for row in from_schema(ordered, schema)]

    async def ask() -> tuple[list[dict[str, Any]], bytes]:
        return await acompiled_rows(source(), schema), await acompiled_json(source(), schema)

    rows, text = on_a_loop(ask)
    assert rows == compiled_rows(source(), schema) == expected
    assert text == compiled_json(source(), schema)
    assert json.loads(text) == expected


def test_its_json_is_that_of_an_operation(client: Client) -> None:
    assert compiled_json(Book.objects.order_by("pk"), BookOut) == client.get("/api/plain-all").content


def test_it_takes_aliases(client: Client) -> None:
    expected = client.get("/api/async-kinds/pages-plain").json()["items"]
    assert json.loads(compiled_json(QuerySet(EveryKind), KindOut, by_alias=True)) == expected
    assert "text" in compiled_rows(QuerySet(EveryKind), KindOut)[0]


def test_a_schema_of_pydantics_does_too() -> None:
    class Plain(BaseModel):
        title: str
        loud: str = Field("none", alias="shout")

    async def ask() -> list[dict[str, Any]]:
        return await acompiled_rows(Book.objects.order_by("title", "pk"), Plain)

    assert [row["title"] for row in on_a_loop(ask)] == ["One", "One", "Two"]


@pytest.mark.parametrize("schema", [BookOut, BOOKS["resolved"][0]])
def test_it_costs_a_query_for_each_level(schema: Any) -> None:
    with CaptureQueriesContext(connection) as queries:
        compiled_rows(Book.objects.all(), schema)
    assert len(queries) == (3 if schema is BookOut else 1)


def test_several_may_be_gathered() -> None:
    async def ask() -> list[list[dict[str, Any]]]:
        return await asyncio.gather(*[acompiled_rows(Book.objects.all(), BookOut) for _ in range(5)])

    found = on_a_loop(ask)
    assert found == [compiled_rows(Book.objects.all(), BookOut)] * 5


class TestPages:
    @pytest.mark.parametrize("name", BOOKS)
    def test_it_is_each_page_of_an_operation(self, client: Client, name: str) -> None:
        schema: Any
        schema, source = BOOKS[name]
        path = f"/api/{name}/keyset"
        cursor, seen = None, []
        while True:
            query = {"page_size": 2} if cursor is None else {"page_size": 2, "cursor": cursor}
            expected = client.get(path, query).content

            async def ask(cursor: str | None = cursor) -> bytes:
                return await acompiled_keyset(source(), schema, cursor, 2, scope=f"{path}?")

            assert compiled_keyset(source(), schema, cursor, 2, scope=f"{path}?") == expected
            assert on_a_loop(ask) == expected
            answer = json.loads(expected)
            seen += answer["items"]
            cursor = answer["next"]
            if cursor is None:
                break
        assert len(seen) == source().count()

    def test_it_goes_back(self, client: Client) -> None:
        first = client.get("/api/books/keyset?page_size=2")
        second = client.get("/api/books/keyset", {"page_size": 2, "cursor": first.json()["next"]})
        back = second.json()["previous"]
        expected = client.get("/api/books/keyset", {"page_size": 2, "cursor": back}).content
        books = BOOKS["books"][1]()
        assert compiled_keyset(books, BookOut, back, 2, scope="/api/books/keyset?") == expected

    def test_an_empty_list_is_an_envelope_too(self, client: Client) -> None:
        Book.objects.all().delete()
        expected = client.get("/api/books/keyset").content
        assert compiled_keyset(BOOKS["books"][1](), BookOut) == expected

    def test_it_takes_aliases(self, client: Client) -> None:
        expected = client.get("/api/async-kinds/keyset").content
        kinds = QuerySet(EveryKind).order_by("pk")
        assert b'100 % \\"sure\\"' in expected
        assert compiled_keyset(kinds, KindOut, scope="/api/async-kinds/keyset?", by_alias=True) == expected

    @pytest.mark.parametrize("name", ["books", "resolved"])
    def test_it_refuses_what_keyset_refuses(self, name: str) -> None:
        schema: Any
        schema, source = BOOKS[name]
        following = json.loads(compiled_keyset(source(), schema, page_size=1, scope="a"))["next"]
        with pytest.raises(CursorError):
            compiled_keyset(source(), schema, following, scope="b")
        with pytest.raises(PageError, match="page_size=101"):
            compiled_keyset(source(), schema, page_size=101)
        with pytest.raises(KeysetOrderError):
            compiled_keyset(source().order_by("?"), schema)

    @pytest.mark.parametrize("schema", [BookOut, BOOKS["resolved"][0]])
    def test_it_costs_a_query_for_each_level(self, schema: Any) -> None:
        with CaptureQueriesContext(connection) as queries:
            compiled_keyset(Book.objects.order_by("pk"), schema)
        assert len(queries) == (3 if schema is BookOut else 1)
