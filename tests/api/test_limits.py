from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.test import AsyncClient, Client, RequestFactory, override_settings

from perfkit.api import default_throttles
from perfkit.api.limits import PerMinuteThrottle, client, client_address
from perfkit.conf import configured
from tests.plugins.valkey import DisposableValkey

pytestmark = pytest.mark.urls("tests.api.views")

LOCAL = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "limits"}}


@pytest.fixture(params=["own process", pytest.param("server", marks=pytest.mark.redis)])
def store(request: pytest.FixtureRequest, settings: Any) -> Iterator[None]:
    if request.param == "own process":
        settings.CACHES = LOCAL
    cache.clear()
    yield
    cache.clear()


def limit(requests: int, **options: Any) -> override_settings:
    values = {"RATE_LIMIT_ENABLED": True, "RATE_LIMIT_PER_MINUTE": requests}
    return override_settings(PERFKIT={**configured(), **values, **options})


def statuses(client: Client, count: int, path: str = "/api/limited", **extra: Any) -> list[int]:
    return [client.get(path, **extra).status_code for _ in range(count)]


@pytest.mark.usefixtures("store")
class TestLimit:
    @pytest.mark.parametrize("path", ["/api/limited", "/api/limited-async"])
    def test_it_lets_the_limit_pass_and_refuses_the_next(self, client: Client, path: str) -> None:
        with limit(5):
            assert statuses(client, 7, path) == [200] * 5 + [429] * 2
            response = client.get(path)
        assert response.json() == {"detail": "Too many requests."}
        assert 1 <= int(response["Retry-After"]) <= 60

    def test_it_reads_the_options_at_each_request(self, client: Client) -> None:
        with limit(1):
            assert statuses(client, 2) == [200, 429]
        with limit(3):
            assert statuses(client, 3) == [200, 200, 429]
        with limit(1, RATE_LIMIT_ENABLED=False):
            assert statuses(client, 5) == [200] * 5

    def test_it_counts_each_address_for_itself(self, client: Client) -> None:
        with limit(2):
            assert statuses(client, 3, REMOTE_ADDR="192.0.2.1") == [200, 200, 429]
            assert statuses(client, 3, REMOTE_ADDR="192.0.2.2") == [200, 200, 429]

    def test_it_counts_each_authenticated_client_for_itself(self, client: Client) -> None:
        with limit(2):
            for key in ("a", "b"):
                got = statuses(client, 3, "/api/limited-by-key", headers={"X-Key": key})
                assert got == [200, 200, 429]

    def test_it_is_not_fooled_by_a_forged_header(self, client: Client) -> None:
        with limit(5):
            got = [
                client.get("/api/limited", headers={"X-Forwarded-For": f"198.51.100.{index}"}).status_code
                for index in range(50)
            ]
        assert got == [200] * 5 + [429] * 45

    def test_it_is_not_fooled_behind_a_declared_proxy(self, client: Client) -> None:
        with limit(5), override_settings(NINJA_NUM_PROXIES=1):
            got = [
                client.get(
                    "/api/limited", headers={"X-Forwarded-For": f"198.51.100.{index}, 203.0.113.9"}
                ).status_code
                for index in range(50)
            ]
        assert got == [200] * 5 + [429] * 45


class TestClientAddress:
    @pytest.mark.parametrize(
        ("proxies", "forwarded", "expected"),
        [
            (None, None, "192.0.2.1"),
            (None, "198.51.100.1", "192.0.2.1"),
            (0, "198.51.100.1", "192.0.2.1"),
            (1, None, "192.0.2.1"),
            (1, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
            (2, "198.51.100.1, 203.0.113.9, 203.0.113.10", "203.0.113.9"),
            (3, "203.0.113.9", "203.0.113.9"),
        ],
    )
    def test_it_believes_only_declared_proxies(
        self, proxies: int | None, forwarded: str | None, expected: str
    ) -> None:
        headers = {"X-Forwarded-For": forwarded} if forwarded else {}
        request = RequestFactory().get("/", headers=headers, REMOTE_ADDR="192.0.2.1")
        with override_settings(NINJA_NUM_PROXIES=proxies):
            assert client_address(request) == expected

    def test_it_never_takes_an_address_for_a_user(self) -> None:
        stranger, user = RequestFactory().get("/", REMOTE_ADDR="1"), RequestFactory().get("/")
        user.auth = "1"  # type: ignore[attr-defined]
        assert client(stranger) != client(user)


@pytest.mark.redis
class TestOutage:
    @pytest.fixture
    def server(self, valkey_server: Callable[[], DisposableValkey], settings: Any) -> DisposableValkey:
        server = valkey_server()
        settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
        return server

    def test_it_lets_requests_pass_while_the_cache_is_down_and_says_so_once(
        self, server: DisposableValkey, caplog: pytest.LogCaptureFixture
    ) -> None:
        now = 100.0
        throttle = PerMinuteThrottle(clock=lambda: now)
        request = RequestFactory().get("/")
        with limit(2, CACHE_RETRY_AFTER=1.0), caplog.at_level(logging.INFO, "perfkit.api"):
            assert [throttle.allow_request(request) for _ in range(3)] == [True, True, False]
            server.kill()
            assert all(throttle.allow_request(request) for _ in range(20))
            assert throttle.wait() is None
            now += 1.5
            assert throttle.allow_request(request)  # tried again, still down
            server.start()
            assert throttle.allow_request(request)  # left alone for another second
            now += 1.5
            assert [throttle.allow_request(request) for _ in range(3)] == [True, True, False]
        levels = [record.levelname for record in caplog.records if record.name == "perfkit.api"]
        assert levels == ["WARNING", "INFO"]


def test_one_throttle_serves_threads_without_mixing_them_up(settings: Any) -> None:
    settings.CACHES = LOCAL
    cache.clear()
    (throttle,) = default_throttles()
    waits: dict[str, float | None] = {}
    barrier = threading.Barrier(2)

    def ask(address: str, times: int) -> None:
        for _ in range(times):
            allowed = throttle.allow_request(RequestFactory().get("/", REMOTE_ADDR=address))
        barrier.wait(10)
        waits[address] = None if allowed else throttle.wait()

    with limit(2):
        threads = [threading.Thread(target=ask, args=args) for args in (("192.0.2.1", 3), ("192.0.2.2", 1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert waits["192.0.2.1"] is not None
    assert waits["192.0.2.2"] is None


def test_an_async_view_is_limited_without_blocking_on_a_session(settings: Any) -> None:
    settings.CACHES = LOCAL
    cache.clear()

    async def ask() -> list[int]:
        return [(await AsyncClient().get("/api/limited-async")).status_code for _ in range(3)]

    from asgiref.sync import async_to_sync

    with limit(2):
        assert async_to_sync(ask)() == [200, 200, 429]
