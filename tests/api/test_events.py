from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth import get_user_model
from django.core.asgi import get_asgi_application
from django.db import connection
from django.test import AsyncClient, Client
from django.urls import path
from ninja import NinjaAPI
from ninja.security import APIKeyHeader

from perfkit.api import StreamTimes, add_error_handlers, task_status_router
from perfkit.api.events import Told, event_id
from perfkit.errors import TaskStatusUnavailableError
from tests.api.test_status import Progress, Status

QUICK = StreamTimes(ask_every=0.02, heartbeat=0.1, longest=1.0, retry=0.5)
STATUSES: dict[str, list[Status]] = {}
"""By task: what is answered one after the other, the last for ever."""


def read_status(task_id: str) -> Status:
    try:
        statuses = STATUSES[task_id]
    except KeyError as error:
        raise TaskStatusUnavailableError(task_id, "down") from error
    return statuses.pop(0) if len(statuses) > 1 else statuses[0]


class Key(APIKeyHeader):
    param_name = "X-Key"

    def authenticate(self, request: Any, key: str | None) -> str | None:
        get_user_model().objects.count()  # a connection is opened
        return key


api = NinjaAPI(urls_namespace="tests-events")
add_error_handlers(api)
api.add_router("", task_status_router(read_status, times=QUICK))
api.add_router("open", task_status_router(read_status, times=QUICK, auth=Key(), most_streams=1))
urlpatterns = [path("api/", api.urls)]

pytestmark = [pytest.mark.urls("tests.api.test_events"), pytest.mark.django_db]

RUN = [
    Status("PENDING"),
    Status("STARTED"),
    Status("PROGRESS", progress=Progress()),
    Status("SUCCESS", result=7),
]


@pytest.fixture
def task_id() -> Iterator[str]:
    task_id = str(uuid4())
    yield task_id
    STATUSES.pop(task_id, None)


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(get_user_model().objects.create_user("staff", is_staff=True))
    return client


def events(content: bytes) -> list[tuple[str, str]]:
    """Return kind and data of each event."""
    found = []
    for block in content.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append((fields["event"], fields["data"]))
    return found


class TestTold:
    def told(self, **values: Any) -> Told:
        return Told(StreamTimes(), values.pop("last_id", ""), 0.0)

    def test_it_sends_what_is_new_once(self) -> None:
        told = self.told()
        assert told.part("PENDING", '{"a": 1}', now=1) == (
            b"id: " + event_id('{"a": 1}').encode() + b'\nevent: status\ndata: {"a": 1}\n\n'
        )
        assert told.part("PENDING", '{"a": 1}', now=2) == b""
        assert b'data: {"a": 2}' in told.part("STARTED", '{"a": 2}', now=3)
        assert not told.is_over

    def test_it_sends_a_heartbeat_where_nothing_else_was_sent(self) -> None:
        told = self.told()
        told.part("PENDING", "{}", now=10)
        assert told.part("PENDING", "{}", now=24.9) == b""
        assert told.part("PENDING", "{}", now=25).startswith(b":")
        assert told.part("PENDING", "{}", now=26) == b""

    def test_it_does_not_repeat_what_the_client_has_seen(self) -> None:
        told = self.told(last_id=event_id("{}"))
        assert told.part("STARTED", "{}", now=1) == b""

    @pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "REVOKED"])
    def test_it_ends_with_the_task(self, state: str) -> None:
        told = self.told()
        assert told.part(state, "{}", now=1).endswith(f"event: end\ndata: {state}\n\n".encode())
        assert told.is_over

    @pytest.mark.parametrize("state", ["PENDING", "RETRY", "PROGRESS"])
    def test_it_ends_after_its_time_without_saying_that_the_task_does(self, state: str) -> None:
        told = self.told()
        told.part(state, "{}", now=299.9)
        assert not told.is_over
        assert told.part(state, "{}", now=300) == b""
        assert told.is_over


class TestStream:
    def test_it_tells_each_change_and_the_end(self, staff: Client, task_id: str) -> None:
        # The first is read before the stream begins, and again by it.
        STATUSES[task_id] = [RUN[0], *RUN]
        response = staff.get(f"/api/task-status/{task_id}/events")
        assert (response.status_code, response["Content-Type"]) == (200, "text/event-stream")
        assert (response["Cache-Control"], response["X-Accel-Buffering"]) == ("no-store", "no")
        content = response.getvalue()
        assert content.startswith(b"retry: 500\n\n")
        told = events(content)
        assert [kind for kind, _ in told] == ["status"] * 4 + ["end"]
        assert [json.loads(data)["state"] for _, data in told[:-1]] == [each.state for each in RUN]
        assert json.loads(told[2][1])["progress"] == vars(Progress())
        assert json.loads(told[3][1]) == staff.get(f"/api/task-status/{task_id}").json()
        assert told[-1] == ("end", "SUCCESS")

    def test_it_is_the_same_in_an_event_loop(self, task_id: str) -> None:
        STATUSES[task_id] = [RUN[0], *RUN]

        async def ask() -> bytes:
            url = f"/api/open/task-status/{task_id}/events"
            response: Any = await AsyncClient().get(url, headers={"X-Key": "k"})
            assert response.streaming
            return b"".join([part async for part in response.streaming_content])

        told = events(async_to_sync(ask)())
        assert [json.loads(data)["state"] for _, data in told[:-1]] == [each.state for each in RUN]
        assert told[-1] == ("end", "SUCCESS")

    def test_what_the_client_has_seen_is_not_told_again(self, staff: Client, task_id: str) -> None:
        url = f"/api/task-status/{task_id}/events"
        STATUSES[task_id] = [RUN[1]]
        content = staff.get(url).getvalue()  # it ends after its time
        assert b": still running" in content
        (first,) = events(content)
        STATUSES[task_id] = [RUN[1], RUN[1], RUN[3]]
        told = events(staff.get(url, headers={"Last-Event-ID": event_id(first[1])}).getvalue())
        assert [kind for kind, _ in told] == ["status", "end"]
        assert json.loads(told[0][1])["result"] == 7
        answer = staff.get(url, headers={"Last-Event-ID": event_id(told[0][1])})
        assert (answer.status_code, answer.content) == (204, b"")
        assert staff.get(url, headers={"Last-Event-ID": "another"}).status_code == 200

    def test_it_refuses_strangers_and_what_is_no_uuid(self, client: Client, staff: Client) -> None:
        assert Client().get(f"/api/task-status/{uuid4()}/events").status_code == 401
        assert staff.get("/api/task-status/1/events").status_code == 422

    def test_a_store_that_is_down_is_a_503_at_first_and_ends_the_stream_later(
        self, staff: Client, task_id: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        url = f"/api/task-status/{task_id}/events"
        assert staff.get(url).status_code == 503
        STATUSES[task_id] = [RUN[1]]
        response = staff.get(url)
        del STATUSES[task_id]
        assert events(response.getvalue()) == []
        assert "A stream of a task's status ended" in caplog.text

    def test_it_is_in_the_schema(self) -> None:
        operation = api.get_openapi_schema()["paths"]["/api/task-status/{task_id}/events"]["get"]
        assert list(operation["responses"][200]["content"]) == ["text/event-stream"]


def wait_until_a_place_is_free(client: Client, url: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        response = client.get(url, headers={"X-Key": "k"})
        if response.status_code == 200:
            response.close()
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.django_db(transaction=True)
class TestPlaces:
    """Of the second router, where a process has one."""

    def test_one_too_many_is_a_503_until_another_has_ended(self, client: Client, task_id: str) -> None:
        STATUSES[task_id] = [RUN[1]]
        url = f"/api/open/task-status/{task_id}/events"
        first = client.get(url, headers={"X-Key": "k"})
        parts = iter(first.streaming_content)
        assert next(parts).startswith(b"retry")
        second = client.get(url, headers={"X-Key": "k"})
        assert (second.status_code, second["Retry-After"]) == (503, "1")
        STATUSES[task_id] = [RUN[3]]
        assert b"event: end" in b"".join(parts)
        assert client.get(url, headers={"X-Key": "k"}).getvalue()

    def test_a_stream_that_never_began_gives_its_place_back(self, client: Client, task_id: str) -> None:
        STATUSES[task_id] = [RUN[1]]
        url = f"/api/open/task-status/{task_id}/events"
        for _ in range(3):
            response = client.get(url, headers={"X-Key": "k"})
            assert response.status_code == 200
            response.close()

    def test_a_client_that_goes_frees_its_thread_and_its_place(
        self, live_server: Any, client: Client, task_id: str
    ) -> None:
        STATUSES[task_id] = [RUN[1]]
        url = f"/api/open/task-status/{task_id}/events"
        address = live_server.thread.host, live_server.thread.port
        with socket.create_connection(address, timeout=10) as gone:
            gone.sendall(f"GET {url} HTTP/1.1\r\nHost: localhost\r\nX-Key: k\r\n\r\n".encode())
            received = b""
            while b"event: status" not in received:
                received += gone.recv(4096)
            assert client.get(url, headers={"X-Key": "k"}).status_code == 503
        wait_until_a_place_is_free(client, url)

    def test_a_client_that_goes_frees_its_place_in_an_event_loop(self, client: Client, task_id: str) -> None:
        STATUSES[task_id] = [RUN[1]]
        url = f"/api/open/task-status/{task_id}/events"
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": url,
            "query_string": b"",
            "headers": [(b"host", b"testserver"), (b"x-key", b"k")],
        }

        async def ask_and_go() -> None:
            communicator = ApplicationCommunicator(get_asgi_application(), scope)
            await communicator.send_input({"type": "http.request", "body": b""})
            assert (await communicator.receive_output(5))["status"] == 200
            body = b""
            while b"event: status" not in body:
                body += (await communicator.receive_output(5))["body"]
            await communicator.send_input({"type": "http.disconnect"})
            await communicator.wait(5)

        async_to_sync(ask_and_go)()
        wait_until_a_place_is_free(client, url)

    @pytest.mark.postgres
    def test_a_stream_keeps_no_database_connection(self, client: Client, task_id: str) -> None:
        STATUSES[task_id] = [RUN[1]]
        connections_at: list[Any] = []

        def ask() -> None:
            response = Client().get(f"/api/open/task-status/{task_id}/events", headers={"X-Key": "k"})
            connections_at.append(connection.connection is not None)
            parts = iter(response.streaming_content)
            next(parts)
            connections_at.append(connection.connection is not None)
            response.close()
            connection.close()

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        assert connections_at == [True, False]
