"""Loops behind a response schema: the view has returned when its rows are serialised."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpRequest
from django.test import Client, override_settings
from django.urls import path
from ninja import NinjaAPI, Schema

from perfkit.conf import configured
from perfkit.loading import autoload
from tests.loading.guard.loops import BookOut, make_library
from tests.testapp.loading import Book, Person

api = NinjaAPI(urls_namespace="guarded")


class PersonOut(Schema):
    name: str
    books: list[BookOut]


@api.get("/books", response=list[BookOut])
def books(request: HttpRequest) -> Any:
    return Book.objects.order_by("pk")


@api.get("/people", response=list[PersonOut])
async def people(request: HttpRequest) -> Any:
    return [person async for person in Person.objects.prefetch_related("books__publisher").order_by("pk")]


@api.get("/filled", response=list[PersonOut])
def filled(request: HttpRequest) -> Any:
    return autoload(Person.objects.order_by("pk"))


urlpatterns = [path("api/", api.urls)]


@pytest.fixture
def client(db: None) -> Client:
    make_library()
    return Client()


def get(client: Client, name: str) -> tuple[list[Any], str]:
    with override_settings(ROOT_URLCONF=__name__, PERFKIT={**configured(), "N_PLUS_ONE_MODE": "header"}):
        response = client.get(f"/api/{name}")
    assert response.status_code == 200
    return response.json(), response.headers.get("X-N-Plus-One", "")


def test_the_view_is_named(client: Client) -> None:
    answer, found = get(client, "books")
    assert answer[0] == {"title": "book 0", "publisher": {"name": "North"}}
    line = books.__code__.co_firstlineno
    assert found == f"1; testapp.Book.publisher x4 at tests/loading/guard/test_ninja.py:{line}"


def test_what_was_loaded_before_is_none(client: Client) -> None:
    answer, found = get(client, "people")
    assert len(answer) == 4
    assert found == ""


def test_rows_that_fill_themselves_are_none(client: Client) -> None:
    answer, found = get(client, "filled")
    assert (answer, found) == (get(client, "people")[0], "")
