"""No secret of the settings is told: of texts, and on pages."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from perfkit.caching.coherence import breaker
from perfkit.monitoring.recording import recorder
from perfkit.secrecy import told, without_secrets
from project.services.processes import free_port
from tests.caching.conftest import forget_everything

PLANTED = "s3cr/t@pl.nted"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:hunter22@cache:6379/0 is gone", "redis://…@cache:6379/0 is gone"),
        ("amqp://ann:pa/ss is odd", "amqp://ann:pa/ss is odd"),
        ("postgres://ann:p@ss@db/shop", "postgres://…@db/shop"),
        ("redis://token@cache", "redis://…@cache"),
        ("see https://example.org/a@b", "see https://example.org/a@b"),
    ],
)
def test_a_login_before_a_host_is_left_out(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_secrets_of_the_settings_are_left_out(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CELERY_BROKER_URL = f"amqp://ann:{quote(PLANTED, safe='')}@broker//"
    settings.CACHES = {
        "default": {"LOCATION": ["redis://:cache-pw@a", "redis://b"], "OPTIONS": {"PASSWORD": "opts"}}
    }
    monkeypatch.setitem(settings.DATABASES["default"], "PASSWORD", "db-pw-planted")
    settings.STRIPE_API_KEY = "sk_live_1"
    settings.PERFKIT = {"HEALTH_TOKEN": "our-token", "CACHE_KEY_PREFIX": "shop"}
    text = f"shop: {PLANTED} {quote(PLANTED, safe='')} cache-pw opts db-pw-planted sk_live_1 our-token"
    assert without_secrets(text) == "shop: … … … … … … …"


def test_of_an_error_the_first_line_is_told() -> None:
    assert told(ValueError("one\ntwo")) == "ValueError: one"
    assert told(ValueError()) == "ValueError"
    assert len(told(ValueError("x" * 1000))) == 300


@pytest.mark.django_db
@pytest.mark.redis
def test_pages_and_the_api_tell_an_outage_without_the_password(settings: Any) -> None:
    """Nobody listens at the port, which is the password too: what the driver says has it."""
    port = str(free_port())
    settings.CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"redis://ann:{port}@127.0.0.1:{port}/0",
        }
    }
    settings.PERFKIT = {**settings.PERFKIT, "METRICS_ENABLED": True, "RATE_LIMIT_ENABLED": False}
    forget_everything()
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    monitoring = "/admin/perfkit/monitoring/"
    statement = f"{monitoring}statement/?alias=default&fingerprint=x"
    try:
        said = [client.get("/api/perfkit/summary").json()["problem"]]
        for page in (monitoring, statement, "/admin/perfkit/cache/"):
            text = client.get(page).content.decode()
            said += re.findall(r'<p class="errornote">(.*?)</p>', text)
        assert len(said) == 4
        for text in said:
            assert "The cache server does not answer" in text
            assert "connecting to 127.0.0.1:…" in text
            assert port not in text
        client.post("/admin/perfkit/cache/invalidate/", {"name": "flights.Airline"})
        assert "127.0.0.1:…" in LogEntry.objects.get().change_message
        assert port not in LogEntry.objects.get().change_message
    finally:
        recorder.forget()
        forget_everything()
        breaker.succeeded()
