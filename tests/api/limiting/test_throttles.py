from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from django.test import AsyncClient, Client, RequestFactory

from perfkit.api import PerMinuteThrottle, RateLimitThrottle, default_throttles
from perfkit.errors import RateError, UsageError
from tests.api.limiting.conftest import limits

pytestmark = [pytest.mark.urls("tests.api.limiting.views"), pytest.mark.usefixtures("local")]


def statuses(client: Client, path: str, times: int, **extra: Any) -> list[int]:
    return [client.get(path, **extra).status_code for _ in range(times)]


@pytest.mark.parametrize(
    "path", ["/api/default", "/api/default-async", "/bare/default", "/bare/default-async"]
)
class TestDefault:
    def test_it_admits_what_the_option_says(self, client: Client, path: str) -> None:
        with limits(RATE_LIMIT_PER_MINUTE=5):
            assert statuses(client, path, 7) == [200] * 5 + [429] * 2
            response = client.get(path)
        assert response.json() == {"detail": "Too many requests."}
        assert 1 <= int(response["Retry-After"]) <= 60

    def test_it_is_a_hundred_a_minute(self, client: Client, path: str) -> None:
        assert sum(status == 200 for status in statuses(client, path, 130)) == 100

    def test_it_reads_the_options_at_each_request(self, client: Client, path: str) -> None:
        with limits(RATE_LIMIT_PER_MINUTE=1):
            assert statuses(client, path, 2) == [200, 429]
        with limits(RATE_LIMIT_RATES=["3/hour", "2/minute"]):
            assert statuses(client, path, 3) == [200, 200, 429]
        with limits(RATE_LIMIT_PER_MINUTE=1, RATE_LIMIT_ENABLED=False):
            assert statuses(client, path, 5) == [200] * 5

    def test_it_is_not_fooled_by_a_forged_header(self, client: Client, path: str) -> None:
        forged = [{"X-Forwarded-For": f"198.51.100.{number}"} for number in range(50)]
        with limits(RATE_LIMIT_PER_MINUTE=5):
            got = [client.get(path, headers=headers).status_code for headers in forged]
        assert got == [200] * 5 + [429] * 45

    def test_it_is_not_fooled_behind_a_declared_proxy(self, client: Client, path: str) -> None:
        forged = [{"X-Forwarded-For": f"198.51.100.{number}, 203.0.113.9"} for number in range(50)]
        with limits(RATE_LIMIT_PER_MINUTE=5, RATE_LIMIT_PROXIES=1):
            got = [client.get(path, headers=headers).status_code for headers in forged]
        assert got == [200] * 5 + [429] * 45


def test_what_is_left_is_told_where_the_api_has_the_handlers(client: Client) -> None:
    with limits(RATE_LIMIT_PER_MINUTE=5):
        assert client.get("/api/default")["RateLimit"] == '"5/minute";r=4;t=60'
        assert client.get("/api/default-async")["RateLimit"] == '"5/minute";r=3;t=60'
        assert "RateLimit" not in client.get("/bare/default")


@pytest.mark.parametrize(("query", "status"), [("", 422), ("?number=5", 200)])
def test_it_is_told_whatever_the_operation_answers(client: Client, query: str, status: int) -> None:
    response = client.get(f"/api/faulty{query}")
    assert response.status_code == status
    assert response["RateLimit-Remaining"] == "8"


def test_it_counts_each_authenticated_client_for_itself(client: Client) -> None:
    for key in ("a", "b"):
        assert statuses(client, "/api/by-key", 3, headers={"X-Key": key}) == [200, 200, 429]


def test_a_request_may_cost_more(client: Client) -> None:
    assert statuses(client, "/api/costly", 3) == [200, 200, 429]


def test_one_throttle_serves_threads_without_mixing_them_up() -> None:
    (throttle,) = default_throttles()
    waits: dict[str, float | None] = {}
    barrier = threading.Barrier(2)

    def ask(address: str, times: int) -> None:
        for _ in range(times):
            allowed = throttle.allow_request(RequestFactory().get("/", REMOTE_ADDR=address))
        barrier.wait(10)
        waits[address] = None if allowed else throttle.wait()

    with limits(RATE_LIMIT_PER_MINUTE=2):
        threads = [threading.Thread(target=ask, args=args) for args in (("192.0.2.1", 3), ("192.0.2.2", 1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert waits == {"192.0.2.1": 60, "192.0.2.2": None}


def test_an_async_operation_is_limited_on_the_event_loop() -> None:
    async def ask() -> list[int]:
        return [(await AsyncClient().get("/api/default-async")).status_code for _ in range(3)]

    with limits(RATE_LIMIT_PER_MINUTE=2):
        assert asyncio.run(ask()) == [200, 200, 429]


def test_it_finds_faults_where_it_is_made() -> None:
    with pytest.raises(UsageError, match="at least one rate"):
        RateLimitThrottle()
    with pytest.raises(RateError):
        RateLimitThrottle("5/eon")
    with pytest.raises(UsageError):
        RateLimitThrottle("5/hour", by="ip")  # type: ignore[arg-type]
    assert isinstance(PerMinuteThrottle(), RateLimitThrottle)
