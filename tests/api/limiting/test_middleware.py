from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.test import AsyncClient, Client

from tests.api.limiting.conftest import limits

OWN = "perfkit.api.RateLimitMiddleware"

pytestmark = [pytest.mark.urls("tests.api.limiting.views"), pytest.mark.usefixtures("local")]


@pytest.fixture(autouse=True)
def middleware(settings: Any, local: None) -> None:
    settings.MIDDLEWARE = [OWN, *django_settings.MIDDLEWARE]


def statuses(client: Client, path: str, times: int, **extra: Any) -> list[int]:
    return [client.get(path, **extra).status_code for _ in range(times)]


@pytest.mark.parametrize("path", ["/free", "/free-async", "/nowhere"])
def test_it_limits_the_whole_site(client: Client, path: str) -> None:
    found = 404 if path == "/nowhere" else 200
    with limits(RATE_LIMIT_PER_MINUTE=2):
        first = client.get(path)
        assert first["RateLimit"] == '"2/minute";r=1;t=60'
        assert [first.status_code, *statuses(client, path, 2)] == [found, found, 429]
        refused = client.get("/free")
    assert refused.json() == {"detail": "Too many requests."}
    assert refused["Content-Type"] == "application/json"
    assert 59 <= int(refused["Retry-After"]) <= 60


@pytest.mark.parametrize("path", ["/free", "/free-async"])
def test_it_says_the_same_on_an_event_loop(path: str) -> None:
    async def ask() -> list[int]:
        return [(await AsyncClient().get(path)).status_code for _ in range(4)]

    with limits(RATE_LIMIT_PER_MINUTE=2):
        assert asyncio.run(ask()) == [200, 200, 429, 429]


def test_it_takes_all_rates_of_the_setting(client: Client) -> None:
    with limits(RATE_LIMIT_RATES=("5/hour", "3/minute burst 2")):
        assert statuses(client, "/free", 3) == [200, 200, 429]


def test_it_leaves_some_paths_alone(client: Client) -> None:
    with limits(RATE_LIMIT_PER_MINUTE=1, RATE_LIMIT_EXEMPT=["/health/", r"/api/(?!default)"]):
        assert statuses(client, "/health/live", 3) == [200] * 3
        assert "RateLimit" not in client.get("/health/live")
        assert statuses(client, "/free", 2) == [200, 429]
        assert client.get("/api/limited")["RateLimit-Limit"] == "3"


def test_it_tells_of_the_limits_of_views_too(client: Client) -> None:
    with limits(RATE_LIMIT_PER_MINUTE=50):
        assert client.get("/plain")["RateLimit-Policy"] == '"3/hour";q=3;w=3600, "50/minute";q=50;w=60'
        assert client.get("/bare/by-key", headers={"X-Key": "a"})["RateLimit"] == '"2/hour";r=1;t=3600'
    with limits(RATE_LIMIT_PER_MINUTE=2):
        assert client.get("/plain")["RateLimit"] == '"2/minute";r=1;t=60'


@pytest.mark.django_db
def test_it_may_count_users(client: Client, settings: Any) -> None:
    client.force_login(User.objects.create_user("ann"))
    ways = [{"REMOTE_ADDR": f"192.0.2.{number}"} for number in range(3)]
    with limits(RATE_LIMIT_PER_MINUTE=2, RATE_LIMIT_BY="user"):
        settings.MIDDLEWARE = [*django_settings.MIDDLEWARE[1:], OWN]
        assert [client.get("/free", **way).status_code for way in ways] == [200, 200, 429]
        assert statuses(Client(), "/free", 1) == [200]
    with limits(RATE_LIMIT_PER_MINUTE=2):
        assert [client.get("/free", **way).status_code for way in ways] == [200] * 3


def test_it_limits_nothing_where_limits_are_off(client: Client) -> None:
    with limits(RATE_LIMIT_PER_MINUTE=1, RATE_LIMIT_ENABLED=False):
        assert statuses(client, "/free", 3) == [200] * 3
