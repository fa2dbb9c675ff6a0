from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from ninja.pagination import paginate as paginated

from perfkit.api import PagePagination
from tests.api.views import api

pytestmark = [pytest.mark.urls("tests.api.views"), pytest.mark.django_db]

BOTH = pytest.mark.parametrize("path", ["/api/groups", "/api/async-groups"])


@pytest.fixture
def groups() -> list[Group]:
    return Group.objects.bulk_create(Group(name=f"group {index:02}") for index in range(45))


@pytest.mark.parametrize("path", ["/api/groups", "/api/numbers"])
def test_it_answers_with_exactly_the_envelope(client: Client, groups: list[Group], path: str) -> None:
    answer = client.get(path).json()
    assert len(answer.pop("items")) == 20
    assert answer == {
        "total": 45,
        "page": 1,
        "page_size": 20,
        "total_pages": 3,
        "has_next": True,
        "has_prev": False,
    }


@pytest.mark.django_db(transaction=True)
def test_its_async_views_answer_the_same(client: Client, groups: list[Group]) -> None:
    for query in ("", "?page=3", "?page=4", "?page_size=100", "?page=2&page_size=7&name=group+1"):
        assert client.get(f"/api/async-groups{query}").json() == client.get(f"/api/groups{query}").json()


def test_its_pages_follow_each_other(client: Client, groups: list[Group]) -> None:
    answers = [client.get(f"/api/groups?page={page}&page_size=10").json() for page in range(1, 6)]
    assert [item["id"] for answer in answers for item in answer["items"]] == [group.pk for group in groups]
    assert [answer["has_next"] for answer in answers] == [True, True, True, True, False]
    assert [answer["has_prev"] for answer in answers] == [False, True, True, True, True]


def test_it_answers_past_the_end_with_an_empty_page(client: Client, groups: list[Group]) -> None:
    answer = client.get("/api/groups?page=4").json()
    assert (answer["items"], answer["total"], answer["has_next"], answer["has_prev"]) == ([], 45, False, True)


@BOTH
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"),
        ("page=-1", "page"),
        (f"page={10**21}", "page"),
        (f"page={'9' * 5000}", "page"),
        ("page=x", "page"),
        ("page=", "page"),
        ("page=1.5", "page"),
        ("page_size=0", "page_size"),
        ("page_size=-1", "page_size"),
        ("page_size=101", "page_size"),
        ("page_size=1000000", "page_size"),
        ("page_size=all", "page_size"),
    ],
)
def test_it_refuses_a_bad_number_and_names_the_field(
    client: Client, path: str, query: str, field: str
) -> None:
    response = client.get(f"{path}?{query}")
    assert response.status_code == 422
    assert [problem["loc"] for problem in response.json()["detail"]] == [["query", field]]


@pytest.mark.parametrize("rows", [1, 50])
def test_it_takes_two_queries_however_many_rows(
    client: Client, rows: int, django_assert_num_queries: Any
) -> None:
    Group.objects.bulk_create(Group(name=f"group {index}") for index in range(rows))
    with django_assert_num_queries(2):
        assert len(client.get("/api/groups?page_size=100").json()["items"]) == rows


@BOTH
def test_its_schema_says_what_may_be_asked_and_what_is_answered(path: str) -> None:
    operation = api.get_openapi_schema()["paths"][path]["get"]
    parameters = {parameter["name"]: parameter["schema"] for parameter in operation["parameters"]}
    assert {name: parameters["page_size"][name] for name in ("minimum", "maximum", "default")} == {
        "minimum": 1,
        "maximum": 100,
        "default": 20,
    }
    assert (parameters["page"]["minimum"], parameters["page"]["default"]) == (1, 1)
    content = operation["responses"][200]["content"]["application/json"]
    assert content["schema"] == {"$ref": "#/components/schemas/PagedGroupOut"}


def test_it_refuses_an_option_it_does_not_have() -> None:
    with pytest.raises(TypeError, match="max_limit"):
        paginated(PagePagination, max_limit=5)(lambda request: [])
