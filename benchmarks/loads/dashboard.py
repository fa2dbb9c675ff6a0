"""The admin's page of what is measured, with a day of data."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from benchmarks.figures import Figure
from benchmarks.loads.scene import Section
from perfkit.conf import configured
from perfkit.signals import cache_server_asked

PAGE: Final = "/admin/perfkit/monitoring/"
MOST_MILLISECONDS: Final = 200
MOST_TRIPS: Final = 10


def page(*, times: int) -> Section:
    """Ask for the page of the last day, whose figures are in the ledger already."""
    client = Client()
    client.force_login(User.objects.create_superuser("dashboard"))
    found = []
    with override_settings(
        ROOT_URLCONF="benchmarks.loads.admin_site", PERFKIT={**configured(), "CACHE_TIMEOUT": 5.0}
    ):
        for _ in range(times):
            begun = time.perf_counter()
            answer = client.get(PAGE, {"since": "24h"})
            found.append((time.perf_counter() - begun) * 1000)
            if answer.status_code != 200 or b"/a/view/of/its/own/" not in answer.content:
                raise RuntimeError("The page does not show the day.")
        with CaptureQueriesContext(connection) as queries, _trips_counted() as trips:
            client.get(PAGE, {"since": "24h"})
    median = statistics.median(found)
    return Section(
        [("the page of a day", f"{median:.0f}", f"{max(found):.0f}", "")],
        [
            Figure("the page of a day", median, "ms", MOST_MILLISECONDS, "lower"),
            Figure("the page of a day: queries", len(queries), "queries", None, "lower"),
            Figure("the page of a day: round trips to the cache server", len(trips), "trips", None, "lower"),
            Figure("the page of a day: both", len(queries) + len(trips), "trips", MOST_TRIPS, "lower"),
        ],
    )


@contextmanager
def _trips_counted() -> Iterator[list[float]]:
    """Collect how long each round trip to the cache server took."""
    trips: list[float] = []

    def asked(*, seconds: float, is_awaited: bool, **_: object) -> None:
        if is_awaited:
            trips.append(seconds)

    cache_server_asked.connect(asked)
    try:
        yield trips
    finally:
        cache_server_asked.disconnect(asked)
