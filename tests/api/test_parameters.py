from __future__ import annotations

import pytest
from django.test import Client

pytestmark = [pytest.mark.urls("tests.api.views"), pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("path", ["/api/groups", "/api/async-groups"])
def test_it_refuses_unknown_parameters_and_lists_the_allowed_ones(client: Client, path: str) -> None:
    response = client.get(f"{path}?nam=a&page=1&limit=5")
    assert response.status_code == 422
    detail = response.json()["detail"]
    assert [problem["loc"] for problem in detail] == [["query", "nam"], ["query", "limit"]]
    assert [problem["msg"] for problem in detail] == [
        "Unknown query parameter. Did you mean 'name'? Allowed: name, page, page_size.",
        "Unknown query parameter. Allowed: name, page, page_size.",
    ]
    for problem in detail:
        assert problem["ctx"] == {"allowed": ["name", "page", "page_size"]}


@pytest.mark.parametrize("path", ["/api/groups", "/api/async-groups"])
def test_it_lets_the_allowed_ones_pass(client: Client, path: str) -> None:
    assert client.get(f"{path}?name=a&page=1&page_size=5").status_code == 200


def test_it_says_where_there_are_none(client: Client) -> None:
    assert client.get("/api/nothing").json() == "nothing"
    (problem,) = client.get("/api/nothing?a=1").json()["detail"]
    assert problem["msg"] == "Unknown query parameter. There are none here."
