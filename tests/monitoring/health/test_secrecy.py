"""No secret of the settings is told, neither to everybody nor to those who are shown details, nor in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import Client

from tests.plugins.valkey import DisposableValkey
from tests.test_secrecy import PLANTED


@pytest.mark.django_db(transaction=True)
@pytest.mark.urls("tests.monitoring.health.site")
@pytest.mark.postgres
@pytest.mark.redis
def test_nothing_planted_is_told_by_any_answer(
    settings: Any,
    configure: Callable[..., None],
    valkey_server: Callable[[], DisposableValkey],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Servers that are there refuse a planted password, and say so in their own words."""
    server = valkey_server()
    location = f"redis://ann:{quote(PLANTED, safe='')}@127.0.0.1:{server.port}/0"
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": location}}
    configure(HEALTH_READY=["database", "cache"], HEALTH_ADDRESSES=["127.0.0.1"], HEALTH_TOLERATED=[])
    monkeypatch.setitem(connection.settings_dict, "PASSWORD", PLANTED)
    secrets = (PLANTED, quote(PLANTED, safe=""), "ann")
    with caplog.at_level(logging.DEBUG, "perfkit"):
        shown = Client().get("/health/ready").content.decode()
        everybody = Client().get("/health/ready", headers={"X-Forwarded-For": "1.2.3.4"}).content.decode()
    assert shown.count('"failed"') == 3
    assert "password authentication failed" in shown
    for text in (shown, everybody, caplog.text):
        assert not any(secret in text for secret in secrets)
    assert everybody == '{"status": "failed"}'
