"""How long the demo keeps its answers, and that none of them outlives a write."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from perfkit.api.compiling.responses import verdicts
from perfkit.caching.store import current_store
from perfkit.conf import configured
from project.flights.models import ActivityLog, Airline, Airport, Flight, StatusReport
from tests.flights.factories import make_flights, make_reports

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = {
    "/api/flights": 60,
    "/api/flights/walk": 60,
    "/api/airports": 60,
    "/api/airlines": 60,
    "/api/reports": 60,
    "/api/flights/{flight}": 300,
    "/api/airports/EWR": 300,
    "/api/airlines/UA": 300,
    "/api/flights/stats": 120,
    "/api/airports/EWR/stats": 120,
    "/api/airlines/UA/stats": 120,
}


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    cache.clear()
    with override_settings(PERFKIT={**configured(), "RATE_LIMIT_ENABLED": False}):
        yield
    cache.clear()


@pytest.fixture
def flight() -> Flight:
    flight = make_flights(2)[0]
    make_reports(flight, 2)
    return flight


def queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


@pytest.fixture
def lives(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """How long the store is told to keep what goes into it, by key."""
    told: dict[str, float] = {}
    kind: Any = type(current_store())
    fill, offer = kind.fill, kind.offer

    def noted_fill(store: Any, entries: dict[str, bytes], *, ttl_seconds: float) -> None:
        told.update(dict.fromkeys(entries, ttl_seconds))
        fill(store, entries, ttl_seconds=ttl_seconds)

    def noted_offer(store: Any, key: str, body: bytes, *, ttl_seconds: float) -> None:
        told[key] = ttl_seconds
        offer(store, key, body, ttl_seconds=ttl_seconds)

    monkeypatch.setattr(kind, "fill", noted_fill)
    monkeypatch.setattr(kind, "offer", noted_offer)
    return told


@pytest.mark.parametrize(("path", "seconds"), SECONDS.items())
def test_an_answer_is_kept_for_its_time(
    client: Client, flight: Flight, lives: dict[str, float], path: str, seconds: int
) -> None:
    url = path.format(flight=flight.pk)
    assert queries(client, url) > 0
    assert queries(client, url) == 0
    assert {math.ceil(life) for key, life in lives.items() if "page:" in key} == {seconds}


def test_the_log_is_read_from_the_cache_for_half_a_minute(client: Client, lives: dict[str, float]) -> None:
    staff = get_user_model().objects.create_user("staff", is_staff=True)
    ActivityLog.objects.create(user=staff, action="report")
    client.force_login(staff)
    assert client.get("/api/activity").json()["total"] == 1
    assert list(lives.values()) == [30, 30]  # its rows, and how many there are
    assert not any("page:" in key for key in lives)  # an answer would be for one person


@pytest.mark.parametrize("path", SECONDS)
def test_a_write_is_seen_at_once(client: Client, flight: Flight, path: str) -> None:
    url = path.format(flight=flight.pk)
    before = client.get(url).content
    Airline.objects.update(name="Untied")
    Flight.objects.update(distance=1, dep_delay=60)
    StatusReport.objects.update(note="seen")
    make_flights(1, number=50)
    Airport.objects.update(altitude=5)
    assert client.get(url).content != before


def test_a_report_is_seen_by_the_next_who_asks(client: Client, flight: Flight) -> None:
    detail = f"/api/flights/{flight.pk}"
    assert [
        len(client.get(url).json()[key]) for url, key in ((detail, "reports"), ("/api/reports", "items"))
    ] == [2, 2]
    client.force_login(get_user_model().objects.create_user("ann"))
    written = client.post(f"{detail}/reports", {"kind": "cancellation"}, content_type="application/json")
    assert written.status_code == 201
    assert [
        len(client.get(url).json()[key]) for url, key in ((detail, "reports"), ("/api/reports", "items"))
    ] == [3, 3]


@pytest.mark.parametrize(
    "path",
    [
        "/api/flights",
        "/api/flights/walk",
        "/api/flights/{flight}",
        "/api/reports",
        "/api/airlines",
        "/api/airlines/UA",
    ],
)
def test_it_is_made_without_instances(client: Client, flight: Flight, path: str) -> None:
    with verdicts() as found:
        client.get(path.format(flight=flight.pk))
    assert [verdict.reason for verdict in found] == [""]


def test_a_kept_answer_keeps_its_links(client: Client, flight: Flight) -> None:
    made, kept = (client.get("/api/flights/walk?page_size=1") for _ in range(2))
    assert made["Link"] == kept["Link"] != ""
