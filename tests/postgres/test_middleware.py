from __future__ import annotations

import logging
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import close_old_connections
from django.test import AsyncClient, Client, override_settings

from perfkit.conf import configured
from tests.plugins.postgres import DisposablePostgres, ServedClient

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.postgres,
    pytest.mark.urls("tests.postgres.outage_views"),
]

OUTAGE = "perfkit.postgres.OutageMiddleware"
ASKING = "tests.postgres.outage_views.asking_middleware"
VIEWS = ["/asks", "/asks-async", "/asks-in-a-template"]


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.MIDDLEWARE = [OUTAGE]
    settings.PERFKIT = {**configured(), "DATABASE_RETRY_AFTER": 6.2}


@pytest.fixture
def client() -> Client:
    """One that gets a 500 as a browser does, of a site that ends each request as servers do."""
    return ServedClient(raise_request_exception=False)


@pytest.mark.parametrize("address", VIEWS)
def test_a_view_that_needs_the_database_is_a_503_and_recovers(
    client: Client, own_postgres: DisposablePostgres, address: str
) -> None:
    assert client.get(address).content == b"1"
    for end in (own_postgres.kill, own_postgres.stop):
        end()
        answer = client.get(address)
        assert (answer.status_code, answer["Retry-After"]) == (503, "7")
        assert answer["Content-Type"].startswith("text/html")
        assert b"Temporarily unavailable." in answer.content
        own_postgres.start()
        assert client.get(address).content == b"1"


async def answer_async(address: str) -> Any:
    answer = await AsyncClient(raise_request_exception=False).get(address)
    await sync_to_async(close_old_connections)()
    return answer


@pytest.mark.parametrize("address", VIEWS)
def test_it_does_so_under_asgi(own_postgres: DisposablePostgres, address: str) -> None:
    assert async_to_sync(answer_async)(address).content == b"1"
    own_postgres.kill()
    answer = async_to_sync(answer_async)(address)
    assert (answer.status_code, answer["Retry-After"]) == (503, "7")
    own_postgres.start()
    assert async_to_sync(answer_async)(address).content == b"1"


@pytest.mark.parametrize("is_async", [False, True])
def test_middleware_that_needs_the_database_is_a_503_too(
    client: Client, own_postgres: DisposablePostgres, settings: Any, is_async: bool
) -> None:
    def get(address: str) -> Any:
        return async_to_sync(answer_async)(address) if is_async else client.get(address)

    settings.MIDDLEWARE = [OUTAGE, ASKING]
    own_postgres.kill()
    answer = get("/asks-nobody")
    assert (answer.status_code, answer["Retry-After"]) == (503, "7")
    own_postgres.start()
    assert get("/asks-nobody").content == b"well"
    assert get("/asks-nobody?nonsense=1").status_code == 500


@pytest.mark.parametrize("is_debug", [False, True])
def test_a_statement_that_is_wrong_stays_a_500(client: Client, settings: Any, is_debug: bool) -> None:
    settings.DEBUG = is_debug
    answer = client.get("/asks-nonsense")
    assert answer.status_code == 500
    assert "Retry-After" not in answer


def test_what_needs_no_database_is_answered(client: Client, own_postgres: DisposablePostgres) -> None:
    own_postgres.kill()
    assert client.get("/asks-nobody").content == b"well"


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [("application/json", True), ("application/json, text/html;q=0.5", True), ("*/*", False), ("", False)],
)
def test_a_client_gets_the_form_that_it_prefers(
    client: Client, own_postgres: DisposablePostgres, accept: str, is_json: bool
) -> None:
    own_postgres.kill()
    answer = client.get("/asks", headers={"Accept": accept})
    assert answer.status_code == 503
    assert answer["Content-Type"].startswith("application/json" if is_json else "text/html")
    if is_json:
        assert answer.json() == {"detail": "Temporarily unavailable."}


def test_a_project_has_a_page_of_its_own(client: Client, own_postgres: DisposablePostgres) -> None:
    own_postgres.kill()
    loaders = [("django.template.loaders.locmem.Loader", {"503.html": "Gone fishing."})]
    engine = {"BACKEND": "django.template.backends.django.DjangoTemplates", "OPTIONS": {"loaders": loaders}}
    with override_settings(TEMPLATES=[engine]):
        answer = client.get("/asks")
    assert (answer.status_code, answer.content) == (503, b"Gone fishing.")


def test_the_cause_stands_in_the_log_alone(
    client: Client, own_postgres: DisposablePostgres, caplog: pytest.LogCaptureFixture
) -> None:
    own_postgres.kill()
    with caplog.at_level(logging.ERROR, "perfkit.postgres"):
        answer = client.get("/asks")
    (record,) = [each for each in caplog.records if each.name == "perfkit.postgres"]
    assert record.getMessage().startswith("GET /asks was answered with a 503: ")
    assert b"connection" not in answer.content
