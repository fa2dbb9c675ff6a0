"""The monitoring that the demo project wires: /metrics and the debug toolbar."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from perfkit.caching.store import forget_store
from perfkit.conf import configured
from perfkit.monitoring.recording import recorder

# Runs in a process of its own: the toolbar is wired by DEBUG, which the test run has off.
DEBUG_PAGE = """
import django
django.setup()
from django.test import Client
from django.conf import settings
SHOWN = ('id="djDebug"', "PerfkitPanel")
client = Client(headers={"host": "localhost"})
page = client.get("/")
print(settings.DEBUG, page.status_code, all(each in page.content.decode() for each in SHOWN))
"""


@pytest.mark.django_db
def test_metrics_count_requests_by_view_and_hold_no_data(client: Client, settings: Any) -> None:
    prefix = f"test-{uuid4().hex[:8]}"
    settings.PERFKIT = {
        **configured(),
        "METRICS_ENABLED": True,
        "CACHE_KEY_PREFIX": prefix,
        "CACHE_TIMEOUT": 5.0,
    }
    forget_store()
    client.get("/api/flights?airline=UA&min_delay=4711")
    response = client.get("/metrics")
    assert response.status_code == 200
    text = response.content.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    [requests] = [
        sample.value
        for sample in samples
        if sample.name == "perfkit_http_requests_total" and sample.labels["view"] == "/api/flights"
    ]
    assert requests == 1
    values = {value for sample in samples for value in sample.labels.values()}
    assert not [value for value in values if "4711" in value or "min_delay" in value]
    assert settings.SECRET_KEY not in text
    recorder.forget()
    forget_store()


@pytest.mark.parametrize("debug", ["True", "False"])
def test_the_toolbar_shows_only_while_debugging(debug: str) -> None:
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "DJANGO_DEBUG": debug,
        "DJANGO_SECRET_KEY": "only-for-tests",
    }
    result = subprocess.run(
        [sys.executable, "-c", DEBUG_PAGE],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stdout.split() == [debug, "200", debug], result.stderr
