"""What is compiled is what ninja makes of instances, to the byte."""

from __future__ import annotations

import datetime
import json
import re
from itertools import product
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from perfkit.api import total_order
from perfkit.api.compiling.responses import Verdict, verdicts
from tests.api.compiling.views import BOOKS, PAGINATIONS, SORTS
from tests.hydration.test_every_kind import rows_of, save
from tests.testapp.hydration import EveryKind
from tests.testapp.loading import Book, Guest, Inn, Person, Place, Publisher, Review

pytestmark = [
    pytest.mark.urls("tests.api.compiling.views"),
    pytest.mark.django_db,
    pytest.mark.usefixtures("_connection"),
]
drawn = settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

QUERIES = st.fixed_dictionaries(
    {},
    optional={
        "small": st.integers(-3, 3),
        "above": st.integers(-40_000, 40_000),
        "flag": st.booleans(),
        "short": st.text("ab%_'\\é", max_size=3),
        "day": st.dates(datetime.date(1900, 1, 1)).map(str),
        "has_text": st.booleans(),
        "among": st.lists(st.integers(-3, 3), max_size=4),
        "either": st.text("ab", max_size=2),
        "sort": st.sampled_from(list(SORTS)),
        "page_size": st.integers(1, 4),
    },
)


def both(
    client: Client, path: str, query: dict[str, Any], *, root: str = "/api/"
) -> tuple[HttpResponse, HttpResponse, Verdict]:
    """Return the answer of the compiled list, that of the one of instances, and how the first was made."""
    text = urlencode(query, doseq=True)
    with verdicts() as found:
        compiled = client.get(f"{root}{path}?{text}")
    plain = client.get(f"{root}{path}-plain?{text}")
    assert found, compiled.content
    return compiled, plain, found[-1]


@pytest.mark.parametrize("pagination", PAGINATIONS)
@drawn
@given(rows=rows_of(EveryKind), query=QUERIES)
def test_it_equals_ninjas_answer_for_every_kind_of_column(
    client: Client, pagination: str, rows: list[EveryKind], query: dict[str, Any]
) -> None:
    save(rows)
    for root in ("/api/", "/tagged/"):
        for _ in range(2):  # the second time by what was kept
            compiled, plain, verdict = both(client, f"kinds/{pagination}", query, root=root)
            same_pages(compiled, plain)
            assert not verdict.reason


def same_pages(compiled: HttpResponse, plain: HttpResponse) -> dict[str, Any]:
    """Compare two pages, and return what they say.

    Cursors are of the addresses of the lists, and so differ; rows below stand as the database finds them where the
    view says no order.
    """
    assert compiled.status_code == plain.status_code == 200, plain.content
    assert compiled["Content-Type"] == plain["Content-Type"]
    without_cursors = [
        re.sub(rb'"(next|previous)": "[^"]+"', rb'"\1": "cursor"', response.content)
        for response in (compiled, plain)
    ]
    if without_cursors[0] != without_cursors[1]:
        assert in_order(without_cursors[0]) == in_order(without_cursors[1])
    answer: dict[str, Any] = plain.json()
    return answer


def in_order(content: bytes) -> Any:
    """Return what an answer says, with the rows below each item in one order."""
    answer = json.loads(content)
    for item in answer["items"]:
        for name in {"authors", "review_set"} & item.keys():
            item[name].sort(key=json.dumps)
    return answer


@pytest.mark.parametrize("sort", SORTS)
@drawn
@given(rows=rows_of(EveryKind), more=rows_of(EveryKind), page_size=st.integers(1, 3))
def test_its_cursors_lead_where_those_of_instances_lead(
    client: Client, sort: str, rows: list[EveryKind], more: list[EveryKind], page_size: int
) -> None:
    save(rows)
    for row in more:
        row.only_id = None
        row.save(force_insert=True)
    expected = [row.pk for row in total_order(EveryKind.plain.order_by(*SORTS[sort]))]
    for direction in ("next", "previous"):
        found: dict[str, list[int]] = {}
        for path in ("kinds/keyset", "kinds/keyset-plain"):
            address = f"/api/{path}?{urlencode({'sort': sort, 'page_size': page_size})}"
            answer = client.get(address).json()
            found[path] = [item["id"] for item in answer["items"]] if direction == "next" else []
            while direction == "previous" and answer["has_next"]:
                answer = client.get(f"{address}&cursor={answer['next']}").json()
            while answer[direction]:
                answer = client.get(f"{address}&cursor={answer[direction]}").json()
                ids = [item["id"] for item in answer["items"]]
                found[path] = [*found[path], *ids] if direction == "next" else [*ids, *found[path]]
        assert found["kinds/keyset"] == found["kinds/keyset-plain"]
        if direction == "next":
            assert found["kinds/keyset"] == expected


@pytest.fixture
def library() -> None:
    mentor = Person.objects.create(name='m "quoted" \\ é \u2028')
    people = [Person.objects.create(name=name, mentor=mentor) for name in "abc"]
    publishers = [Publisher.objects.create(name=f"publisher {number}") for number in range(2)]
    for number in range(7):
        book = Book.objects.create(
            title=f"book {number % 3}",
            publisher=publishers[number % 2],
            editor=people[number % 3] if number % 2 else None,
        )
        book.authors.set(people[: number % 4])
        for stars in range(number % 3):
            Review.objects.create(book=book, critic=people[stars], stars=stars)
    town = Place.objects.create(code="t", name="town")
    house = Place.objects.create(code="h", name="house", above=town)
    inn = Inn.objects.create(code="i", name="inn", stars=3, above=house)
    for home in (town, house, inn):
        Guest.objects.create(inn=inn, home=home, name=f"of {home.code}")


COMPILED = ("books", "filtered-books", "guests", "pupils")
REASONS = {
    "counted-books": "",
    "resolved": "title is made by a function",
    "computed": "loud is a function",
    "validated": "shout is a function",
    "properties": "blurb, which is no column",
    "keys": "made by a function",
    "latest": "",
    "distinct": "distinct",
    "twice": "two fields as title",
}


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("name", "pagination"),
    # A distinct list has no places that a cursor could tell.
    [pair for pair in product([*BOOKS, "twice"], PAGINATIONS) if pair != ("distinct", "keyset")],
)
def test_it_equals_ninjas_answer_for_every_kind_of_schema(client: Client, name: str, pagination: str) -> None:
    reason = "" if name in COMPILED else REASONS[name]
    for page_size in (2, 20, 20):
        compiled, plain, verdict = both(client, f"{name}/{pagination}", {"page_size": page_size})
        answer = same_pages(compiled, plain)
        assert answer["items"]
        assert reason in verdict.reason
        assert bool(verdict.reason) == bool(reason)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("page_size", [1, 7])
def test_it_costs_a_query_for_each_level_however_many_rows(client: Client, page_size: int) -> None:
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(f"/api/books/open?page_size={page_size}").json()
    assert len(answer["items"]) == page_size
    assert len(queries) <= 4  # how many there are, the books, their authors, their reviews


def test_past_the_end_it_is_an_empty_page(client: Client) -> None:
    for pagination in ("pages", "open"):
        compiled, plain, _ = both(client, f"pupils/{pagination}", {"page": 9})
        assert same_pages(compiled, plain)["items"] == []
    [row] = [Person.objects.create(name="one")]
    compiled, plain, _ = both(client, "pupils/pages", {"page": 9})
    assert same_pages(compiled, plain)["total"] == 0
    row.delete()


@pytest.mark.usefixtures("library")
def test_a_view_that_says_its_status_is_answered_too(client: Client) -> None:
    answer = client.get("/api/with-status?page_size=1").json()
    assert [item["name"][0] for item in answer["items"]] == ["m"]
    assert answer["total"] == 4


@pytest.mark.usefixtures("library")
def test_a_view_that_is_given_the_response_keeps_its_headers(client: Client) -> None:
    with verdicts() as found:
        response = client.get("/api/with-response")
    assert response["X-Own"] == "1"
    assert "given the response" in found[0].reason


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("pagination", PAGINATIONS)
@pytest.mark.django_db(transaction=True)
def test_its_async_views_answer_the_same(client: Client, pagination: str) -> None:
    EveryKind.plain.create(short="short", text="text")
    compiled, plain, verdict = both(client, f"async-kinds/{pagination}", {})
    answer = same_pages(compiled, plain)
    assert answer["items"][0]['100 % "sure"'] == "text"
    assert not verdict.reason


@pytest.mark.skipif(connection.vendor != "postgresql", reason="prepared statements are PostgreSQL's")
@pytest.mark.django_db(transaction=True)
def test_it_goes_on_where_a_column_has_got_another_type(client: Client) -> None:
    Person.objects.create(name="somebody", mentor=Person.objects.create(name="another"))
    expected = client.get("/api/pupils/open").content
    for kind in ("text", "varchar(20)"):
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE testapp_person ALTER COLUMN name TYPE {kind}")
        for _ in range(2):
            assert client.get("/api/pupils/open").content == expected


@pytest.mark.postgres
@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("path", ["kinds", "pupils"], ids=["all rows", "some rows"])
def test_all_pages_of_a_walk_are_prepared(client: Client, path: str) -> None:
    for text in "ab":
        EveryKind.plain.create(short="short", text=text)
    may_prepare = connection.connection.prepare_threshold is not None
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
    connection.connection._prepared.clear()
    first = client.get(f"/api/{path}/keyset?page_size=1").json()
    assert client.get(f"/api/{path}/keyset", {"page_size": 1, "cursor": first["next"]}).json()["items"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements ORDER BY prepare_time")
        statements = [text for (text,) in cursor.fetchall() if " LIMIT 2" in text]
    assert [" > $" in text for text in statements] == ([False, True] if may_prepare else []), statements
