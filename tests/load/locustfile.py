"""What the users of a load test do; it runs in Locust's own environment and knows the demo by its addresses only.

`locust -f tests/load/locustfile.py --host http://127.0.0.1:8000`; LOAD_TOKEN, of `manage.py demo_token`, lets
users write reports. LOAD_OUTAGE_SECONDS, such as `10-25`, is when a 503 with Retry-After is a right answer.
"""

from __future__ import annotations

import os
import random
import time

from locust import HttpUser, between, events, task

TOKEN = os.environ.get("LOAD_TOKEN", "")
FROM, TO = map(float, os.environ.get("LOAD_OUTAGE_SECONDS", "0-0").split("-"))
PATIENCE_SECONDS = 35
WAIT_SECONDS = float(os.environ.get("LOAD_WAIT_SECONDS", "0.2"))

AIRLINES = ("UA", "B6", "EV", "DL", "AA", "MQ", "US", "WN")
AIRPORTS = ("JFK", "EWR", "LGA", "ATL", "ORD", "LAX", "BOS", "MIA", "SFO", "IAH")
SORTS = ("time_hour", "-time_hour", "dep_delay", "-dep_delay", "airline", "number")

began = 0.0


@events.test_start.add_listener
def note_begin(**_):
    global began  # noqa: PLW0603  # locust has no other place for it
    began = time.monotonic()


def may_be_away():
    return FROM <= time.monotonic() - began <= TO


class Visitor(HttpUser):
    """Looks at lists and details, and now and then reports something."""

    wait_time = between(0.5 * WAIT_SECONDS, 1.5 * WAIT_SECONDS)  # else all come at once, again and again

    def ask(self, method, address, *, name, expected=200, **body):
        started_in_outage = may_be_away()
        with self.client.request(
            method, address, name=name, catch_response=True, timeout=PATIENCE_SECONDS, **body
        ) as answer:
            if answer.status_code == expected:
                answer.success()
            elif answer.status_code == 503 and answer.headers.get("Retry-After", "").isdigit():
                if started_in_outage or may_be_away():
                    answer.request_meta["name"] = f"503: {name}"
                    answer.success()
                else:
                    answer.failure("503 while all is well")
            else:
                answer.failure(
                    f"status {answer.status_code}: {answer.text[:100] if answer.text else answer.error}"
                )

    @task(6)
    def list_cached(self):
        self.ask("GET", f"/api/airports?page={random.randint(1, 5)}&page_size=50", name="list, cached")

    @task(6)
    def list_uncached(self):
        query = (
            f"airline={random.choice(AIRLINES)}&sort_by={random.choice(SORTS)}&page={random.randint(1, 20)}"
        )
        self.ask("GET", f"/api/flights?{query}", name="list, uncached")

    @task(6)
    def detail_cached(self):
        self.ask("GET", f"/api/airports/{random.choice(AIRPORTS)}", name="detail, cached")

    @task(3)
    def detail(self):
        self.ask("GET", f"/api/flights/{random.randint(1, 300_000)}", name="detail with relations")

    @task(3)
    def statistics(self):
        self.ask("GET", f"/api/airports/{random.choice(AIRPORTS)}/stats", name="statistics, cached")

    @task(2)
    def page(self):
        self.ask("GET", "/admin/login/", name="page")

    @task(2)
    def write(self):
        if TOKEN:
            self.ask(
                "POST",
                f"/api/flights/{random.randint(1, 300_000)}/reports",
                name="write",
                expected=201,
                json={"kind": "delay", "delay_minutes": random.randint(1, 90)},
                headers={"Authorization": f"Bearer {TOKEN}"},
            )
