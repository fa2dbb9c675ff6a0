from __future__ import annotations

import logging

import pytest
from django.test import Client

pytestmark = pytest.mark.urls("tests.api.views")


def test_a_bad_page_is_a_422_like_ninjas_own(client: Client) -> None:
    response = client.get("/api/page-error")
    assert response.status_code == 422
    (problem,) = response.json()["detail"]
    assert problem == {
        "type": "value_error",
        "loc": ["query", "page"],
        "msg": "page=0 is not between 1 and 2.",
    }


@pytest.mark.django_db
def test_paginate_by_hand_is_a_422_too(client: Client) -> None:
    assert client.get("/api/by-hand?page=0").status_code == 422
    assert len(client.get("/api/by-hand?page=1").json()) == 20


def test_an_outage_is_a_503_that_keeps_its_cause_for_the_log(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "perfkit.api"):
        response = client.get("/api/unavailable")
    assert response.status_code == 503
    assert response.json() == {"detail": "Temporarily unavailable."}
    assert int(response["Retry-After"]) >= 1
    assert "the secret address does not answer" in caplog.text
