"""Texts about an airport's delays: asked for by a job or a stream, once for the same figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.db import connection
from django.test import AsyncClient, Client

from perfkit.jobs import job_status
from perfkit.models import Job, JobState
from project import model_server
from project.flights.jobs import describe_delays
from project.flights.models import Flight
from project.flights.tokens import make_token
from tests.caching.conftest import forget_everything, wait_until
from tests.flights.factories import make_flights
from tests.flights.model_server import KEY, WORDS, ModelServer, running_model_server
from tests.jobs.conftest import _no_beats_outlive_their_test  # noqa: F401  # a fixture
from tests.tasks.workers import running_worker
from tests.testapp import jobs

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/airports/EWR/descriptions"
EVENTS = f"{URL}/events"
TEXT = "".join(WORDS)
SQL = """
    SELECT COUNT(*), SUM(CASE WHEN dep_time IS NULL THEN 1 ELSE 0 END),
           SUM(CASE WHEN dep_delay > 15 THEN 1 ELSE 0 END), AVG(dep_delay * 1.0)
    FROM flights_flight WHERE origin_id = 'EWR'
"""


@pytest.fixture(autouse=True)
def _demo(settings: LazySettings) -> Iterator[None]:
    """Jobs run where they are enqueued, no model is there, and nothing is kept."""
    settings.PERFKIT = {**settings.PERFKIT, "RATE_LIMIT_ENABLED": False, "CACHE_TIMEOUT": 5.0}
    use_backend(settings, "immediate")
    settings.MODEL_SERVER_URL = ""
    forget_everything()  # an outage of the cache server in an earlier test, say
    cache.clear()
    make_flights(4)
    make_flights(2, number=20, dep_delay=95)
    make_flights(1, number=30, dep_time=None, dep_delay=None, arr_delay=None)
    yield
    cache.clear()


@pytest.fixture
def headers() -> dict[str, str]:
    user = get_user_model().objects.create_user("ann")
    return {"Authorization": f"Bearer {make_token(user, 'tests')}"}


@pytest.fixture
def server(settings: LazySettings) -> Iterator[ModelServer]:
    """A model that the demo asks."""
    with running_model_server() as server:
        settings.MODEL_SERVER_URL, settings.MODEL_SERVER_KEY = server.url, KEY
        settings.MODEL_NAME = "tiny"
        yield server


def use_backend(settings: LazySettings, name: str) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "JOB_BACKEND": name}


def ask(headers: dict[str, str]) -> dict[str, Any]:
    response = Client().post(URL, headers=headers)
    assert response.status_code == 202, response.content
    return response.json()


def answer(headers: dict[str, str]) -> dict[str, Any]:
    """Ask, and read the answer."""
    response = Client().get(ask(headers)["answer"], headers=headers)
    assert response.status_code == 200, response.content
    assert response["Cache-Control"] == "no-store"
    return response.json()


def read(content: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Return the names and the data of events."""
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in content.decode().split("\n\n")
    ]
    return [(block["event"], json.loads(block["data"])) for block in blocks if block]


def stream(headers: dict[str, str]) -> list[tuple[str, dict[str, Any]]]:
    response: Any = Client().get(EVENTS, headers=headers)
    assert (response.status_code, response["Content-Type"]) == (200, "text/event-stream")
    assert response["Cache-Control"] == "no-store"
    return read(b"".join(response.streaming_content))


class TestWithoutAModel:
    def test_it_says_that_no_model_was_asked(self, headers: dict[str, str]) -> None:
        told = answer(headers)
        assert told["text"].startswith("Development answer; no model was asked.")
        assert (told["is_from_model"], told["is_complete"], told["model"]) == (False, True, "development")

    def test_its_figures_are_those_of_the_table(self, headers: dict[str, str]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(SQL)
            flights, cancelled, late, mean = cursor.fetchone()
        told = answer(headers)
        assert (flights, cancelled, late) == (7, 1, 2)
        assert told["figures"]["departures"] == {
            "flights": flights,
            "cancelled": cancelled,
            "late": late,
            "mean_delay_minutes": round(float(mean), 1),
        }
        assert told["figures"]["arrivals"]["flights"] == 0
        assert (
            f"{flights}, of which {cancelled} were cancelled and {late} more than 15 minutes late; "
            f"the mean delay was {round(float(mean), 1)} minutes."
        ) in told["text"]
        assert (told["airport"], told["figures"]["name"]) == ("EWR", "Newark Liberty Intl")

    def test_a_stream_comes_in_pieces_and_ends_with_the_whole(self, headers: dict[str, str]) -> None:
        *pieces, end = stream(headers)
        assert len(pieces) > 10
        assert {name for name, _ in pieces} == {"piece"}
        assert end[0] == "end"
        assert "".join(data["text"] for _, data in pieces) == end[1]["text"]
        assert stream(headers) == [("piece", {"text": end[1]["text"]}), end]
        assert answer(headers) == end[1]


class TestAsking:
    def test_staff_see_how_it_stands(self, client: Client, headers: dict[str, str]) -> None:
        client.force_login(get_user_model().objects.create_user("staff", is_staff=True))
        asked = ask(headers)
        assert asked["status"] == f"/api/task-status/{asked['id']}"
        status = client.get(asked["status"]).json()
        assert status["state"] == "SUCCESS"
        assert status["result"] == client.get(asked["answer"]).json()
        told = job_status(asked["id"]).progress
        assert told is not None
        assert (told.current, told.total, told.message) == (2, 2, "described")

    def test_it_is_one_job_until_a_flight_is_written(self, headers: dict[str, str]) -> None:
        first, second = ask(headers), ask(headers)
        assert (second["id"], second["state"]) == (first["id"], "done")
        make_flights(1, number=40, dep_delay=500)
        third = ask(headers)
        assert third["id"] != first["id"]
        assert Job.objects.count() == 2

    @pytest.mark.parametrize(
        ("code", "detail"),
        [("XXX", "No airport has the code XXX."), ("JFK", "No flight left JFK or went to it.")],
    )
    @pytest.mark.parametrize("method", ["get", "post"])
    def test_an_airport_must_be_there_and_have_flights(
        self, headers: dict[str, str], code: str, detail: str, method: str
    ) -> None:
        url = f"/api/airports/{code}/descriptions" + ("/events" if method == "get" else "")
        response = getattr(Client(), method)(url, headers=headers)
        assert (response.status_code, response.json()) == (404, {"detail": detail})
        assert not Job.objects.exists()

    def test_what_is_no_code_is_named(self, headers: dict[str, str]) -> None:
        response = Client().post("/api/airports/ewr/descriptions", headers=headers)
        assert response.status_code == 422
        assert [each["loc"] for each in response.json()["detail"]] == [["path", "code"]]

    def test_it_is_not_for_everybody(self, client: Client) -> None:
        assert client.post(URL).status_code == 401
        assert client.get(EVENTS).status_code == 401
        assert client.get(f"/api/descriptions/{uuid4()}").status_code == 401
        assert not Job.objects.exists()


class TestAnswer:
    def test_it_is_there_once_the_job_is_done(self, settings: LazySettings, headers: dict[str, str]) -> None:
        use_backend(settings, "tests.jobs.conftest.NoJobs")
        asked = ask(headers)
        response = Client().get(asked["answer"], headers=headers)
        assert (response.status_code, response.json()) == (202, asked)
        assert response["Retry-After"] == "1"
        Job.objects.update(state=JobState.CANCELLED)
        assert Client().get(asked["answer"], headers=headers).status_code == 410

    def test_it_shows_no_other_job(self, settings: LazySettings, headers: dict[str, str]) -> None:
        other = jobs.leave_effect.enqueue(7)
        assert job_status(other.id).result == 14
        for job_id in (other.id, uuid4()):
            assert Client().get(f"/api/descriptions/{job_id}", headers=headers).status_code == 404
        assert Client().get("/api/descriptions/7", headers=headers).status_code == 422


class TestWithAModel:
    def test_the_same_figures_are_asked_about_once(
        self, server: ModelServer, headers: dict[str, str]
    ) -> None:
        before = model_server.models().statistics(days=2)
        told = answer(headers)
        assert (told["text"], told["is_from_model"], told["model"]) == (TEXT, True, "tiny-1")
        assert answer(headers) == told
        assert stream(headers) == [("piece", {"text": TEXT}), ("end", told)]
        (asked,) = server.asked
        assert (asked["model"], asked["temperature"], asked["max_tokens"]) == ("tiny", 0, 300)
        assert asked["authorization"] == f"Bearer {KEY}"
        after = model_server.models().statistics(days=2)
        assert (after.misses - before.misses, after.hits - before.hits) == (1, 1)

    def test_other_figures_are_another_prompt(self, server: ModelServer, headers: dict[str, str]) -> None:
        first = answer(headers)
        make_flights(1, number=40, dep_delay=500)
        second = answer(headers)
        assert second["figures"]["departures"]["flights"] == first["figures"]["departures"]["flights"] + 1
        before, after = server.prompts
        assert "left it: 7, of which 1 were cancelled and 2 more" in before
        assert "left it: 8, of which 1 were cancelled and 3 more" in after
        Flight.objects.filter(number=40).delete()
        assert answer(headers) == first
        assert len(server.asked) == 2

    def test_a_stream_shows_what_comes_and_is_kept(
        self, server: ModelServer, headers: dict[str, str]
    ) -> None:
        *pieces, (name, told) = stream(headers)
        assert [data["text"] for _, data in pieces] == WORDS
        assert (name, told["text"], told["is_from_model"]) == ("end", TEXT, True)
        assert answer(headers)["text"] == TEXT
        assert len(server.asked) == 1

    def test_a_stream_comes_from_an_event_loop_too(
        self, server: ModelServer, headers: dict[str, str]
    ) -> None:
        async def read_all() -> bytes:
            response: Any = await AsyncClient().get(EVENTS, headers=headers)
            assert response.is_async
            return b"".join([part async for part in response.streaming_content])

        *pieces, (name, told) = read(async_to_sync(read_all)())
        assert [data["text"] for _, data in pieces] == WORDS
        assert (name, told["text"]) == ("end", TEXT)
        assert server.asked[0]["stream"] is True

    def test_nobody_is_asked_by_head(self, server: ModelServer, headers: dict[str, str]) -> None:
        response = Client().head(EVENTS, headers=headers)
        assert (response.status_code, response["Content-Type"]) == (200, "text/event-stream")
        response.close()
        assert server.asked == []

    def test_beyond_the_budget_nobody_is_asked(
        self, server: ModelServer, settings: LazySettings, headers: dict[str, str]
    ) -> None:
        settings.MODEL_DAILY_BUDGET = 0.0001
        asked = ask(headers)
        found = job_status(asked["id"])
        assert found.state == JobState.DEAD
        assert "ModelBudgetError" in found.error
        response = Client().get(asked["answer"], headers=headers)
        assert (response.status_code, response.json()["detail"]) == (
            410,
            "It could not be made: ask for another one.",
        )
        assert stream(headers) == [
            ("failed", {"detail": "The model cannot be asked now.", "retry_after_seconds": None})
        ]
        assert server.asked == []

    def test_beyond_the_limit_it_says_when_to_come_back(
        self,
        server: ModelServer,
        settings: LazySettings,
        headers: dict[str, str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "RATE_LIMIT_ENABLED": True}
        monkeypatch.setattr(model_server, "LIMIT", "1/hour")
        settings.MODEL_DAILY_BUDGET = 6.0  # so that it is made anew, with this limit
        assert stream(headers)[-1][0] == "end"
        ((name, told),) = stream(headers)
        assert name == "failed"
        assert 0 < told["retry_after_seconds"] <= 3600
        make_flights(1, number=40)
        asked = ask(headers)
        assert job_status(asked["id"]).state == JobState.QUEUED, "it is tried again later"
        assert Client().get(asked["answer"], headers=headers).status_code == 202
        assert len(server.asked) == 1

    def test_a_server_that_is_gone_is_tried_again_later(
        self, server: ModelServer, headers: dict[str, str]
    ) -> None:
        server.shutdown()
        server.server_close()
        found = job_status(ask(headers)["id"])
        assert (found.state, found.runs) == (JobState.QUEUED, 1)
        assert "The model's server cannot be reached." in found.error
        assert KEY not in found.error

    @pytest.mark.postgres
    @pytest.mark.redis
    def test_a_worker_asks_and_its_answer_is_everybodys(
        self, server: ModelServer, settings: LazySettings, headers: dict[str, str], tmp_path: Path
    ) -> None:
        use_backend(settings, "celery")
        log = tmp_path / "worker.log"
        values = {"MODEL_SERVER_URL": server.url, "MODEL_SERVER_KEY": KEY, "MODEL_NAME": "tiny"}
        with running_worker(log, "--pool=solo", "-Q", "ai", **values):
            asked = ask(headers)
            assert asked["state"] == "queued"
            wait_until(lambda: job_status(asked["id"]).is_ended, seconds=60)
        told = Client().get(asked["answer"], headers=headers).json()
        assert told.get("text") == TEXT, log.read_text()
        assert stream(headers) == [("piece", {"text": TEXT}), ("end", told)]
        assert len(server.asked) == 1
        assert Job.objects.get(pk=UUID(asked["id"])).queue == "ai"


def test_the_job_is_a_plain_function_too() -> None:
    told = describe_delays("EWR", "any")
    assert told["figures"]["departures"]["flights"] == 7


def test_the_front_page_leads_to_it(client: Client) -> None:
    assert b'href="/api/docs#/descriptions"' in client.get("/").content
