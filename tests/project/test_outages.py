"""The demo while its database is away: the whole of it, by its real routes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.urls import reverse

from perfkit.conf import configured
from project.flights.models import Airport, Flight
from tests.flights.factories import make_flights, make_reference_rows
from tests.plugins.postgres import DisposablePostgres, ServedClient

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]


@pytest.fixture
def demo(own_postgres: DisposablePostgres, settings: Any) -> DisposablePostgres:
    """The server of a demo with some flights and one who may do all, its cache off."""
    settings.PERFKIT = {**configured(), "CACHE_ENABLED": False, "RATE_LIMIT_ENABLED": False}
    call_command("migrate", run_syncdb=True, verbosity=0)
    call_command("flush", interactive=False, verbosity=0)
    make_reference_rows()
    make_flights(3)
    User.objects.create_superuser("demo", password="only-for-tests")
    return own_postgres


def requests_of(flight: int) -> list[tuple[str, str, str | None]]:
    report = json.dumps({"kind": "delay", "delay_minutes": 5})
    airport = Airport.objects.values_list("pk", flat=True)[0]
    return [
        ("GET", reverse("api:flights"), None),
        ("GET", reverse("api:flights") + "?sort_by=-dep_delay&page_size=1", None),
        ("GET", reverse("api:flight", args=[flight]), None),
        ("GET", reverse("api:airports"), None),
        ("GET", reverse("api:airport", args=[airport]), None),
        ("GET", reverse("api:airport-stats", args=[airport]), None),
        ("GET", reverse("api:activity"), None),
        ("POST", reverse("api:flight-reports", args=[flight]), report),
        ("GET", reverse("admin:index"), None),
        ("GET", reverse("admin:flights_flight_changelist"), None),
    ]


def test_each_request_is_a_503_and_recovers(demo: DisposablePostgres) -> None:
    client = ServedClient(raise_request_exception=False)
    client.force_login(User.objects.get())
    asked = requests_of(Flight.objects.values_list("pk", flat=True)[0])

    def answers() -> dict[str, int]:
        found = {}
        for method, address, body in asked:
            answer = client.generic(method, address, body or "", content_type="application/json")
            if answer.status_code == 503:
                assert int(answer["Retry-After"]) >= 1
                if address.startswith("/api/"):
                    assert answer.json() == {"detail": "Temporarily unavailable."}
                else:
                    assert b"Temporarily unavailable." in answer.content
            found[f"{method} {address}"] = answer.status_code
        return found

    well = answers()
    assert set(well.values()) == {200, 201}
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")  # it does not wait for the disk, so a kill may lose the last commits
    for end in (demo.kill, demo.stop):
        end()
        assert set(answers().values()) == {503}
        demo.start()
        assert answers() == well
