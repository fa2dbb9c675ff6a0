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

from perfkit.api import acompiled_json, acompiled_rows, compiled_json, compiled_rows
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
