"""The cache server: there, hanging, gone, and back; and the kinds of caches that are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from perfkit.monitoring.health.probes import shared
from tests.caching.conftest import wait_until
from tests.monitoring.health.asking import standing
from tests.plugins.valkey import DisposableValkey

MINUTE = 60.0


@pytest.mark.redis
class TestServers:
    @pytest.fixture(autouse=True)
    def server(
        self, settings: Any, valkey_server: Callable[[], DisposableValkey], configure: Callable[..., None]
    ) -> DisposableValkey:
        server = valkey_server()
        settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
        configure(CACHE_TIMEOUT=0.5, HEALTH_READY=["cache"])
        return server

    def is_well(self) -> bool:
        shared.forget()
        return standing("cache") == ("ok", "")

    def test_one_that_is_gone_is_degraded_until_it_is_back(
        self, server: DisposableValkey, settings: Any
    ) -> None:
        settings.ROOT_URLCONF = "tests.monitoring.health.site"
        wait_until(self.is_well, seconds=MINUTE)
        server.kill()
        status, message = standing("cache")
        assert status == "degraded"
        assert message.startswith("StoreError: ")
        shared.forget()
        answer = Client().get("/health/ready")
        assert (answer.status_code, answer.json()) == (200, {"status": "degraded"})
        server.start()
        wait_until(self.is_well, seconds=MINUTE)

    def test_one_that_hangs_is_degraded_until_it_goes_on(self, server: DisposableValkey) -> None:
        wait_until(self.is_well, seconds=MINUTE)
        server.pause()
        try:
            status, message = standing("cache")
        finally:
            server.resume()
        assert (status, message.partition(":")[0]) == ("degraded", "StoreError")
        wait_until(self.is_well, seconds=MINUTE)

    def test_a_project_may_need_it(self, server: DisposableValkey, configure: Callable[..., None]) -> None:
        configure(HEALTH_TOLERATED=[])
        server.kill()
        assert standing("cache")[0] == "failed"


@pytest.mark.parametrize(
    ("backend", "told"),
    [
        ("locmem.LocMemCache", "it is inside this process"),
        ("dummy.DummyCache", "there is none"),
        ("filebased.FileBasedCache", ""),
    ],
)
def test_what_is_no_server_is_well(settings: Any, tmp_path: Any, backend: str, told: str) -> None:
    cache = {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": str(tmp_path)}
    settings.CACHES = {"default": cache}
    assert standing("cache") == ("ok", told)


@pytest.mark.redis
def test_one_that_perfkit_cannot_use_is_asked_all_the_same(settings: Any) -> None:
    cache = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
    settings.CACHES = {"default": cache}
    status, message = standing("cache")
    assert (status, message.partition(":")[0]) == ("degraded", "ConnectionError")
