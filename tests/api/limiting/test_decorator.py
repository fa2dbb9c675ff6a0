from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory

from perfkit.api import rate_limit
from perfkit.errors import RateError, UsageError
from tests.api.limiting.conftest import limits

pytestmark = [pytest.mark.urls("tests.api.limiting.views"), pytest.mark.usefixtures("local")]

FIELDS = ("RateLimit-Policy", "RateLimit", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


def statuses(client: Client, path: str, times: int, **extra: Any) -> list[int]:
    return [client.get(path, **extra).status_code for _ in range(times)]


@pytest.mark.parametrize(
    "path",
    [
        *("/plain", "/plain-async", "/api/limited", "/api/limited-async"),
        *("/bare/limited", "/bare/limited-async", "/own/limited", "/own/limited-async"),
    ],
)
class TestBothKindsOfViews:
    def test_it_refuses_what_is_beyond_the_limit(self, client: Client, path: str) -> None:
        assert statuses(client, path, 5) == [200] * 3 + [429] * 2
        response = client.get(path)
        own = path.startswith("/own/")
        assert response.json() == ({"slow": "down"} if own else {"detail": "Too many requests."})
        assert 3590 <= int(response["Retry-After"]) <= 3600
        assert response["RateLimit-Policy"] == '"3/hour";q=3;w=3600'
        assert response["RateLimit"].startswith('"3/hour";r=0;t=')
        assert int(response["RateLimit-Reset"]) <= int(response["Retry-After"])

    def test_it_says_what_is_left(self, client: Client, path: str) -> None:
        response = client.get(path)
        assert response["RateLimit-Policy"] == '"3/hour";q=3;w=3600'
        assert response["RateLimit"] == '"3/hour";r=2;t=3600'
        assert [response[name] for name in FIELDS[2:]] == ["3", "2", "3600"]
        assert "Retry-After" not in response
        assert client.get(path)["RateLimit-Remaining"] == "1"

    def test_it_limits_nothing_where_limits_are_off(self, client: Client, path: str) -> None:
        with limits(RATE_LIMIT_ENABLED=False):
            assert statuses(client, path, 6) == [200] * 6
            assert not any(name in client.get(path) for name in FIELDS)

    def test_it_says_the_same_on_an_event_loop(self, path: str) -> None:
        async def ask() -> list[int]:
            return [(await AsyncClient().get(path)).status_code for _ in range(5)]

        assert asyncio.run(ask()) == [200] * 3 + [429] * 2

    def test_each_address_has_its_own_limit(self, client: Client, path: str) -> None:
        for address in ("192.0.2.1", "192.0.2.2"):
            assert statuses(client, path, 4, REMOTE_ADDR=address) == [200] * 3 + [429]
        assert statuses(client, path, 4, REMOTE_ADDR="2001:db8::1") == [200] * 3 + [429]
        assert statuses(client, path, 1, REMOTE_ADDR="2001:db8::ffff") == [429]

    def test_a_head_request_counts(self, client: Client, path: str) -> None:
        for _ in range(3):
            client.head(path)
        assert client.get(path).status_code == 429


@pytest.mark.django_db
def test_it_counts_users_wherever_they_come_from(client: Client) -> None:
    client.force_login(User.objects.create_user("ann"))
    assert [statuses(client, "/plain", 1, REMOTE_ADDR=f"192.0.2.{n}")[0] for n in range(4)] == [200] * 3 + [
        429
    ]
    assert statuses(Client(), "/plain", 1, REMOTE_ADDR="192.0.2.1") == [200]


@pytest.mark.django_db(transaction=True)
def test_it_counts_users_in_async_views(client: Client) -> None:
    client.force_login(User.objects.create_user("ann"))

    async def ask() -> list[int]:
        asking = AsyncClient()
        asking.cookies = client.cookies
        found = [(await asking.get("/plain-async")).status_code for _ in range(4)]
        await sync_to_async(connections.close_all)()  # those of the thread that has asked the session
        return found

    assert asyncio.run(ask()) == [200] * 3 + [429]
    assert statuses(Client(), "/plain-async", 1) == [200]


def test_it_counts_whom_an_operation_has_authenticated(client: Client) -> None:
    for key in ("a", "b"):
        assert statuses(client, "/api/limited-by-key", 3, headers={"X-Key": key}) == [201, 201, 429]
    assert statuses(client, "/api/limited-by-key", 1) == [401]


def test_it_counts_only_the_methods_that_it_is_for(client: Client) -> None:
    assert statuses(client, "/login", 5) == [200] * 5
    assert [client.post("/login").status_code for _ in range(3)] == [200, 200, 429]
    assert statuses(client, "/login", 1) == [200]


def test_options_counts_as_any_other_method(client: Client) -> None:
    assert [client.options("/plain").status_code for _ in range(4)] == [200] * 3 + [429]


def test_a_request_counts_as_many_as_it_costs(client: Client) -> None:
    assert statuses(client, "/costly?cost=0", 20) == [200] * 20
    assert "RateLimit" not in client.get("/costly")
    assert statuses(client, "/costly?cost=4", 3) == [200, 200, 429]
    assert statuses(client, "/costly?cost=2", 2, REMOTE_ADDR="192.0.2.1") == [200, 429]
    never = client.get("/costly?cost=11")
    assert never.status_code == 429
    assert "Retry-After" not in never
    with pytest.raises(UsageError, match="must not be negative: -1"):
        client.get("/costly?cost=-1")


def test_several_limits_show_the_tightest(client: Client) -> None:
    response = client.get("/api/several")
    assert response["RateLimit"] == '"4/hour";r=3;t=3600'
    assert response["RateLimit-Policy"] == (
        '"4/hour";q=4;w=3600, "10/hour burst 6";q=10;w=3600;perfkit-burst=6, "100/day";q=100;w=86400'
    )
    assert statuses(client, "/api/several", 4) == [200] * 3 + [429]
    assert client.get("/api/several")["RateLimit"].startswith('"4/hour";r=0;t=')


def test_it_limits_views_that_are_classes(client: Client) -> None:
    assert [client.get(f"/class/{number}").status_code for number in range(3)] == [200, 200, 429]


def test_a_kept_page_does_not_keep_what_was_left_to_somebody(client: Client) -> None:
    first, second = client.get("/kept"), client.get("/kept")
    assert first["RateLimit-Remaining"] == "1"
    assert "Age" in second
    assert not any(name in second for name in FIELDS)


def test_each_view_has_its_own_limit_unless_they_share_a_scope() -> None:
    def answer(request: HttpRequest) -> HttpResponse:
        return HttpResponse("allowed")

    def other(request: HttpRequest) -> HttpResponse:
        return HttpResponse("allowed")

    request = RequestFactory().get("/")
    apart = [rate_limit("1/hour")(answer), rate_limit("1/hour")(other)]
    together = [rate_limit("1/hour", scope="both")(answer), rate_limit("1/hour", scope="both")(other)]
    assert [view(request).status_code for view in apart] == [200, 200]
    assert [view(request).status_code for view in together] == [200, 429]


def test_who_has_no_name_is_not_limited() -> None:
    @rate_limit("1/hour", by=lambda request: request.headers.get("X-Partner"))
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("allowed")

    known, unknown = RequestFactory().get("/", headers={"X-Partner": "a"}), RequestFactory().get("/")
    assert [view(known).status_code for _ in range(2)] == [200, 429]
    assert [view(unknown).status_code for _ in range(3)] == [200] * 3


def test_it_finds_faults_where_the_view_is_written() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        raise NotImplementedError

    async def stream(request: HttpRequest) -> AsyncIterator[int]:
        yield 1

    for rates, by, error in (
        ([], "user", UsageError),
        (["5/eon"], "user", RateError),
        (["5/hour"], "ip", UsageError),
    ):
        with pytest.raises(error):
            rate_limit(*rates, by=by)(view)
    with pytest.raises(UsageError, match="RateLimitThrottle"):
        rate_limit("5/hour")(stream)
    view._ninja_operation = object()  # type: ignore[attr-defined]  # as a route leaves it
    with pytest.raises(UsageError, match="below the route"):
        rate_limit("5/hour")(view)


def test_it_leaves_the_view_its_name_and_parameters() -> None:
    from inspect import signature

    from tests.api.limiting.views import plain

    assert plain.__name__ == "plain"
    assert list(signature(plain).parameters) == ["request"]
