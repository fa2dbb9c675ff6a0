from __future__ import annotations

import logging
from typing import Any

import psycopg
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import DatabaseError, OperationalError, ProgrammingError, close_old_connections, connection
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client

from project import services
from tests.api.views import api
from tests.plugins.postgres import DisposablePostgres, ServedClient

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


async def answer_async(address: str) -> Any:
    answer = await AsyncClient().get(address)
    await sync_to_async(close_old_connections)()
    return answer


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_async", [False, True])
def test_a_database_that_is_away_is_a_503(
    own_postgres: DisposablePostgres, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    own_postgres.kill()
    with caplog.at_level(logging.ERROR, "perfkit.api"):
        if is_async:
            answer = async_to_sync(answer_async)("/api/async-groups")
        else:
            answer = ServedClient().get("/api/groups")
    assert answer.status_code == 503
    assert answer.json() == {"detail": "Temporarily unavailable."}
    assert answer["Retry-After"] == "5"
    assert "groups was answered with a 503: " in caplog.text


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestOtherErrorsOfTheDatabase:
    def test_a_statement_that_is_wrong_is_raised(self, client: Client) -> None:
        with pytest.raises(ProgrammingError):
            client.get("/api/asks-nonsense")

    def test_so_is_what_a_server_that_is_well_refuses(self, client: Client) -> None:
        name = str(connection.settings_dict["NAME"])
        with psycopg.connect(services.database_url(), dbname=name) as other, connection.cursor() as cursor:
            other.execute("SELECT pg_advisory_xact_lock(77)")
            cursor.execute("SET lock_timeout = 1")
            with pytest.raises(OperationalError):
                client.get("/api/asks-nonsense?lock=1")
            cursor.execute("RESET lock_timeout")

    def test_the_project_s_own_handler_gets_it(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        def conflict(request: HttpRequest, error: Any) -> HttpResponse:
            return api.create_response(request, {"detail": type(error).__name__}, status=409)

        monkeypatch.setattr(api, "_exception_handlers", {**api._exception_handlers, DatabaseError: conflict})
        name = str(connection.settings_dict["NAME"])
        with psycopg.connect(services.database_url(), dbname=name) as other, connection.cursor() as cursor:
            other.execute("SELECT pg_advisory_xact_lock(77)")
            cursor.execute("SET lock_timeout = 1")
            answer = client.get("/api/asks-nonsense?lock=1")
            cursor.execute("RESET lock_timeout")
        assert (answer.status_code, answer.json()) == (409, {"detail": "OperationalError"})
