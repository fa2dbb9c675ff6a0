"""`manage.py perfkit_routes`."""

from __future__ import annotations

import json
import re
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection

from tests.testapp.loading import Book, Person, Publisher

pytestmark = [pytest.mark.urls("tests.api.compiling.views"), pytest.mark.django_db]
of_postgres = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite tells no indexes in its plans"
)


def shown(*arguments: str) -> dict[str, str]:
    out = StringIO()
    call_command("perfkit_routes", *arguments, stdout=out)
    lines = [re.split(r"\s{2,}", line, maxsplit=1) for line in out.getvalue().splitlines()]
    return dict(lines)


@pytest.fixture(autouse=True)
def book() -> Book:
    Person.objects.create(name="nobody's pupil")
    return Book.objects.create(title="One", publisher=Publisher.objects.create(name="Press"))


def test_it_says_how_each_route_answers() -> None:
    found = shown("/api/")
    assert found["GET /api/books/pages"].startswith("200; compiled, 9 columns; ")
    assert "made by a function" in found["GET /api/resolved/pages"]
    assert found["GET /api/all"].startswith("200; compiled, 9 columns; ")
    assert found["GET /api/plain-all"].startswith("200; by ninja: its view has neither")
    assert found["GET /api/one/{pk}"] == "not asked: say which: pk=…"
    assert "GET /tagged/all" not in found


def test_it_asks_for_the_row_that_is_named(book: Book) -> None:
    found = shown("/api/one", "--value", f"pk={book.pk}")
    assert found["GET /api/one/{pk}"].startswith("200; compiled, ")


@of_postgres
def test_it_names_the_indexes_that_are_used(book: Book) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    found = shown("/api/one", "--value", f"pk={book.pk}")
    assert "indexes testapp_book_pkey" in found["GET /api/one/{pk}"]


def test_it_tells_programs_the_same(book: Book) -> None:
    out = StringIO()
    call_command("perfkit_routes", "/api/books/open", "--json", stdout=out)
    by_path = {each["path"]: each for each in json.loads(out.getvalue())}
    told = by_path["/api/books/open"]
    assert (told["method"], told["status"], told["way"], told["columns"]) == ("GET", 200, "compiled", 9)
    assert told["queries"] == 4  # how many there are, the books, their authors, their reviews


def test_nothing_that_a_route_writes_stays() -> None:
    before = Person.objects.count()
    assert shown("/api/writes")["GET /api/writes"].startswith("200; ")
    assert Person.objects.count() == before


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["/no/such"], "No route"),
        (["--value", "pk"], "no NAME=VALUE"),
        (["--user", "nobody"], "no user 'nobody'"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(arguments: list[str], problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        shown(*arguments)


def test_it_asks_as_a_user_who_is_logged_in() -> None:
    User.objects.create_user("somebody")
    assert shown("/api/who")["GET /api/who"].startswith("401; ")
    assert shown("/api/who", "--user", "somebody")["GET /api/who"].startswith("200; ")
