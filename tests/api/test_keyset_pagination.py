from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from tests.api.views import api

pytestmark = [pytest.mark.urls("tests.api.views"), pytest.mark.django_db]

PATHS = ["/api/keyset-groups", "/api/async-keyset-groups"]
BOTH = pytest.mark.parametrize("path", PATHS)


@pytest.fixture
def groups() -> list[Group]:
    return Group.objects.bulk_create(Group(name=f"group {index:02}") for index in range(45))


def test_it_answers_with_exactly_the_envelope(client: Client, groups: list[Group]) -> None:
    answer = client.get("/api/keyset-groups").json()
    assert [item["id"] for item in answer.pop("items")] == [group.pk for group in groups[:20]]
    assert answer.pop("next")
    assert answer == {"previous": None, "has_next": True, "has_prev": False}


def test_its_cursors_lead_through_all_pages(client: Client, groups: list[Group]) -> None:
    query, found = "?page_size=7&order=-name&name=group", []
    answer = client.get(f"/api/keyset-groups{query}").json()
    while True:
        found += [item["id"] for item in answer["items"]]
        if not answer["has_next"]:
            break
        answer = client.get(f"/api/keyset-groups{query}&cursor={answer['next']}").json()
    assert found == [group.pk for group in reversed(groups)]


@BOTH
@pytest.mark.django_db(transaction=True)
def test_its_links_lead_through_all_pages_and_back(client: Client, groups: list[Group], path: str) -> None:
    walks = {}
    address = f"{path}?page_size=20&name=group"
    for relation in ("next", "prev"):
        walks[relation] = pages = []
        while address:
            response = client.get(address)
            pages.append([item["name"] for item in response.json()["items"]])
            links = dict(re.findall(r'<([^>]+)>; rel="(\w+)"', response.get("Link", "")))
            links = {name: link for link, name in links.items()}
            before, address = address, links.get(relation, "").removeprefix("http://testserver")
        address = before
    assert [name for page in walks["next"] for name in page] == [group.name for group in groups]
    assert walks["prev"] == walks["next"][::-1]


@pytest.mark.django_db(transaction=True)
def test_its_async_views_answer_the_same(client: Client, groups: list[Group]) -> None:
    for query in ("?page_size=3", "?order=-id", "?name=group+1"):
        answers = [client.get(f"{path}{query}").json() for path in PATHS]
        assert answers[0]["items"] == answers[1]["items"]
        assert answers[0].keys() == answers[1].keys()


@BOTH
@pytest.mark.parametrize(
    "query", ["order=-name", "name=group+1", "order=name&name=g", "order=id"], ids=lambda query: query
)
@pytest.mark.django_db(transaction=True)
def test_a_cursor_of_another_list_is_a_422(
    client: Client, groups: list[Group], path: str, query: str
) -> None:
    cursor = client.get(f"{path}?page_size=5").json()["next"]
    response = client.get(f"{path}?cursor={cursor}&{query}")
    assert response.status_code == 422
    [detail] = response.json()["detail"]
    assert detail["loc"] == ["query", "cursor"]
    assert "Ask for the first page without one" in detail["msg"]


@pytest.mark.parametrize("cursor", ["x", "%00", "a.b.c", "x" * 5000, "%C3%A9"])
def test_any_text_is_a_422(client: Client, groups: list[Group], cursor: str) -> None:
    response = client.get(f"/api/keyset-groups?cursor={cursor}")
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"][:2] == ["query", "cursor"]


@pytest.mark.parametrize("page_size", ["0", "-1", "101", "x", "10**21", str(10**21)])
def test_a_size_out_of_range_is_a_422(client: Client, page_size: str) -> None:
    response = client.get(f"/api/keyset-groups?page_size={page_size}")
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", "page_size"]


def test_another_size_goes_on_from_the_same_place(client: Client, groups: list[Group]) -> None:
    cursor = client.get("/api/keyset-groups?page_size=5").json()["next"]
    answer = client.get(f"/api/keyset-groups?page_size=3&cursor={cursor}").json()
    assert [item["id"] for item in answer["items"]] == [group.pk for group in groups[5:8]]


@pytest.mark.parametrize(
    ("path", "envelope"),
    [
        ("/api/groups", {"total", "page", "page_size", "total_pages", "has_next", "has_prev"}),
        ("/api/keyset-groups", {"next", "previous", "has_next", "has_prev"}),
    ],
)
def test_openapi_tells_both_envelopes_apart(path: str, envelope: set[str]) -> None:
    schema: Any = api.get_openapi_schema()
    operation = schema["paths"][path]["get"]
    reference = operation["responses"][200]["content"]["application/json"]["schema"]["$ref"]
    properties = schema["components"]["schemas"][reference.rsplit("/", 1)[1]]["properties"]
    assert properties.keys() == {"items", *envelope}


def test_openapi_tells_of_its_parameters() -> None:
    parameters = api.get_openapi_schema()["paths"]["/api/keyset-groups"]["get"]["parameters"]
    assert {each["name"] for each in parameters} == {"name", "order", "cursor", "page_size"}
