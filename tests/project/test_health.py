"""The demo's probes, as compose.yaml and others ask for them."""

from __future__ import annotations

import re
import urllib.error
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from django.conf import settings

from perfkit.monitoring.health.probes import shared
from tests.plugins.postgres import DisposablePostgres, ServedClient

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(settings.BASE_DIR)


@pytest.fixture(autouse=True)
def _not_probed_before() -> None:
    shared.forget()


def in_compose() -> str:
    check = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["web"]["healthcheck"]["test"]
    return " ".join(check)


@pytest.mark.parametrize("text", [in_compose(), (ROOT / "Dockerfile").read_text()], ids=["compose", "image"])
def test_what_containers_ask_is_answered_by_a_site_behind_tls(
    text: str, live_server: Any, settings: Any
) -> None:
    (path,) = re.findall(r"http://127\.0\.0\.1:8000(/[a-z/]+)", text)
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["site.example"]
    settings.PERFKIT = {**settings.PERFKIT, "HEALTH_TIMEOUT": 30.0}
    with urlopen(live_server.url + path, timeout=60) as answer:
        assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError):
        urlopen(live_server.url + "/page", timeout=60)


@pytest.mark.postgres
def test_without_its_database_the_demo_lives_and_is_not_ready(own_postgres: DisposablePostgres) -> None:
    own_postgres.kill()
    client = ServedClient()
    assert client.get("/health/live").json() == {"status": "ok"}
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "failed"})
