from __future__ import annotations

import os
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client

from perfkit.postgres import pool_options

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(get_user_model().objects.create_user("staff", is_staff=True))
    return client


def test_it_is_for_staff(client: Client) -> None:
    assert client.get("/api/pool").status_code == 401


def test_it_says_where_there_is_no_pool(staff: Client) -> None:
    assert staff.get("/api/pool").json() == {"process": os.getpid(), "pool": None}


@pytest.mark.postgres
def test_it_tells_what_is_in_use(staff: Client) -> None:
    connection.close()
    options: dict[str, Any] = connection.settings_dict["OPTIONS"]
    options["pool"] = pool_options(2, 1)
    try:
        response = staff.get("/api/pool")
        figures = response.json()["pool"]
    finally:
        connection.close()
        connection.close_pool()
        del options["pool"]
    assert response["Cache-Control"] == "no-store"
    assert figures["most"] == 3
    assert figures["in_use"] >= 1
    assert figures["requests"] == 1
