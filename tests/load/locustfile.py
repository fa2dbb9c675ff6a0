"""What the users of a load test do; it runs in Locust's own environment and knows the demo by its addresses only.

`locust -f tests/load/locustfile.py --host http://127.0.0.1:8000`; LOAD_TOKEN, of `manage.py demo_token`, lets
users write reports.
LOAD_CHOICE=popular has them look around as people do: half keep the order that a list has by itself, a third of
those who see a page go on to the next, and they open flights that a list has shown, the first ones most often.
LOAD_OUTAGE_SECONDS, such as `10-25`, is when a 503 with Retry-After is a right answer.
"""

from __future__ import annotations

import os
import random
import time

from locust import FastHttpUser, between, events, task

TOKEN = os.environ.get("LOAD_TOKEN", "")
FROM, TO = map(float, os.environ.get("LOAD_OUTAGE_SECONDS", "0-0").split("-"))
PATIENCE_SECONDS = 35
WAIT_SECONDS = float(os.environ.get("LOAD_WAIT_SECONDS", "0.2"))

AIRLINES = ("UA", "B6", "EV", "DL", "AA", "MQ", "US", "WN")
AIRPORTS = ("JFK", "EWR", "LGA", "ATL", "ORD", "LAX", "BOS", "MIA", "SFO", "IAH")
IS_POPULAR = os.environ.get("LOAD_CHOICE", "any") == "popular"

MOST_PAGES = 20
KEEP_THE_ORDER, GO_ON = 1 / 2, 1 / 3

SORTS = ("time_hour", "-time_hour", "dep_delay", "-dep_delay", "airline", "number")

began = 0.0


@events.test_start.add_listener
def note_begin(**_):
    global began  # noqa: PLW0603  # locust has no other place for it
    began = time.monotonic()


def may_be_away():
    return FROM <= time.monotonic() - began <= TO


def rank(most):
    """Return a number from 1 on: any is as likely, or the k-th with a chance of about 1/k, as on a real site."""
    if not IS_POPULAR:
        return random.randint(1, most)
    return min(most, int(most ** random.random()))


def sort():
    return SORTS[0] if IS_POPULAR and random.random() < KEEP_THE_ORDER else chosen(SORTS)


def page():
    """Return which page of a list is asked for."""
    if not IS_POPULAR:
        return random.randint(1, MOST_PAGES)
    number = 1
    while number < MOST_PAGES and random.random() < GO_ON:
        number += 1
    return number


def chosen(things):
    return things[rank(len(things)) - 1]


class Visitor(FastHttpUser):  # it leaves more of the processor to a server beside it than `HttpUser` does
    """Looks at lists and details, and now and then reports something."""

    network_timeout = connection_timeout = PATIENCE_SECONDS
    wait_time = between(0.5 * WAIT_SECONDS, 1.5 * WAIT_SECONDS)  # else all come at once, again and again

    shown = ()
    """The flights of the list that was looked at last."""

    def ask(self, method, address, *, name, expected=200, **body):
        started_in_outage = may_be_away()
        with self.client.request(method, address, name=name, catch_response=True, **body) as answer:
            if answer.status_code == expected:
                answer.success()
                return answer
            if answer.status_code == 503 and answer.headers.get("Retry-After", "").isdigit():
                if started_in_outage or may_be_away():
                    answer.request_meta["name"] = f"503: {name}"
                    answer.success()
                else:
                    answer.failure("503 while all is well")
            else:
                answer.failure(
                    f"status {answer.status_code}: {answer.text[:100] if answer.text else answer.error}"
                )
            return None

    @task(6)
    def list_cached(self):
        self.ask("GET", f"/api/airports?page={random.randint(1, 5)}&page_size=50", name="list, cached")

    @task(6)
    def list_uncached(self):
        query = f"airline={chosen(AIRLINES)}&sort_by={sort()}&page={page()}"
        name = "list of flights" if IS_POPULAR else "list, uncached"
        answer = self.ask("GET", f"/api/flights?{query}", name=name)
        if answer is not None and IS_POPULAR:
            self.shown = [flight["id"] for flight in answer.json()["items"]]

    @task(6)
    def detail_cached(self):
        self.ask("GET", f"/api/airports/{random.choice(AIRPORTS)}", name="detail, cached")

    @task(3)
    def detail(self):
        if IS_POPULAR and not self.shown:
            self.list_uncached()
        flight = chosen(self.shown) if self.shown else random.randint(1, 300_000)
        self.ask("GET", f"/api/flights/{flight}", name="detail with relations")

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
