from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import path
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed

from perfkit.conf import configured
from perfkit.monitoring.prometheus import metrics_view

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]
urlpatterns = [path("own", metrics_view)]


def test_it_tells_perfkits_metrics_and_those_of_the_process(measured: Any, client: Client) -> None:
    response = client.get("/own")
    assert response.status_code == 200
    assert response["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "no-store" in response["Cache-Control"]
    names = [family.name for family in parsed(response.content.decode())]
    assert names.count("perfkit_metrics_up") == 1
    assert "python_info" in names


def test_it_speaks_openmetrics_where_it_is_asked_to(measured: Any, client: Client) -> None:
    accept = "application/openmetrics-text; version=1.0.0,text/plain;version=0.0.4;q=0.5"
    response = client.get("/own", headers={"accept": accept})
    assert response["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    text = response.content.decode()
    assert text.endswith("# EOF\n")
    assert "perfkit_metrics_up" in {family.name for family in parsed_openmetrics(text)}


def test_it_is_only_read(client: Client) -> None:
    assert client.post("/own").status_code == 405
    assert client.head("/own").status_code == 200


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer wrong", 401),
        ("Basic sécret", 401),
        ("Bearer sécre", 401),
        ("sécret", 401),
        ("Bearer sécret", 200),
        ("bearer  sécret", 200),
    ],
)
def test_with_a_token_only_who_knows_it_is_told(
    measured: Any, client: Client, told: str | None, status: int
) -> None:
    measured.PERFKIT = {**configured(), "METRICS_TOKEN": "sécret"}
    response = client.get("/own", headers={} if told is None else {"authorization": told})
    assert response.status_code == status
    if status == 401:
        assert response["WWW-Authenticate"] == 'Bearer realm="metrics"'
        assert response.content == b""
