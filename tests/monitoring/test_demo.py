"""The monitoring that the demo project wires: /metrics and the debug toolbar."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

# Runs in a process of its own: the toolbar is wired by DEBUG, which the test run has off.
DEBUG_PAGE = """
import django
django.setup()
from django.test import Client
from django.conf import settings
client = Client(headers={"host": "localhost"})
page = client.get("/")
print(settings.DEBUG, page.status_code, 'id="djDebug"' in page.content.decode())
"""


@pytest.mark.skipif(not settings.HAS_PROMETHEUS, reason="django-prometheus does not support this Django")
@pytest.mark.django_db
def test_metrics_count_requests_by_view_and_hold_no_data(client: Client) -> None:
    client.get("/api/flights?airline=UA&min_delay=4711")
    response = client.get("/metrics")
    assert response.status_code == 200
    text = response.content.decode()
    name = "django_http_requests_total_by_view_transport_method_total"
    assert re.search(name + r'\{[^}]*view="api:flights"[^}]*\} [1-9]', text)
    labels = {
        value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        for value in sample.labels.values()
    }
    assert "api:flights" in labels
    assert not [value for value in labels if "4711" in value or "min_delay" in value]
    assert settings.SECRET_KEY not in text


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
