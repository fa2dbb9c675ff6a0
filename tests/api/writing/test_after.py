from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from asgiref.sync import async_to_sync
from celery import Celery
from django.db import connection, connections, transaction
from django.test import AsyncClient, Client

from perfkit.api import after_response
from perfkit.api.writing.workers import Workers, workers
from perfkit.caching.scope import current_scope
from project.celery import app
from tests.api.writing import views
from tests.testapp.bulk import Country

pytestmark = [pytest.mark.urls("tests.api.writing.views"), pytest.mark.django_db(transaction=True)]

MIDDLEWARE = ["perfkit.api.after_response_middleware"]


@pytest.fixture(autouse=True)
def _followed(settings: Any) -> Iterator[None]:
    settings.MIDDLEWARE = MIDDLEWARE
    yield
    workers.drain()


def post(path: str, client: Client | None = None) -> int:
    response = (client or Client(raise_request_exception=False)).post(f"/api/{path}")
    workers.drain()
    return response.status_code


class TestFunctions:
    def test_it_is_called_after_the_answer(self) -> None:
        assert post("after?note=a") == 200
        assert (views.calls, views.done) == (["a"], ["a"])

    def test_it_is_not_called_where_the_transaction_rolls_back(self) -> None:
        assert post("after?note=a&rolls_back=true") == 200
        assert (views.calls, views.done) == (["a"], [])

    @pytest.mark.parametrize("status", [400, 500])
    def test_it_is_not_called_where_the_answer_is_an_error(self, status: int) -> None:
        assert post(f"after?note=a&status={status}") == status
        assert (views.calls, views.done) == (["a"], [])

    def test_it_is_not_called_where_the_view_raises(self) -> None:
        assert post("after-exception?note=a") == 500
        assert views.done == []

    def test_one_request_does_nothing_for_another(self) -> None:
        post("after?note=a&status=400")
        post("after?note=b")
        assert views.done == ["b"]

    def test_a_client_has_its_answer_while_the_work_goes_on(
        self, live_server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        has_answer = threading.Event()

        def work(note: str) -> None:
            assert has_answer.wait(20)
            views.done.append(note)

        monkeypatch.setattr(views, "work", work)
        response = requests.post(f"{live_server.url}/api/after?note=a", timeout=10)
        assert (response.status_code, response.json()) == (200, "a")
        assert views.done == []
        has_answer.set()
        deadline = time.monotonic() + 20
        while views.done != ["a"]:  # the server closes its answer after the client has it
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def test_it_is_called_under_asgi(self) -> None:
        Country.objects.create(code="PE")

        async def ask() -> list[int]:
            client = AsyncClient()
            paths = ("after?note=a", "after-async?note=b", "after-async?note=c&status=400")
            return [(await client.post(f"/api/{path}")).status_code for path in paths]

        assert async_to_sync(ask)() == [200, 200, 400]
        workers.drain()
        assert sorted(map(str, views.done)) == ["1", "a", "b"]

    def test_outside_of_a_request_the_commit_decides(self) -> None:
        with transaction.atomic():
            after_response(views.done.append, "a")
            workers.drain()
            assert views.done == []
        after_response(views.done.append, "b")
        with transaction.atomic():
            after_response(views.done.append, "c")
            transaction.set_rollback(True)
        workers.drain()
        assert views.done == ["a", "b"]

    def test_it_gets_what_it_was_given(self) -> None:
        after_response(lambda *args, **named: views.done.append((args, named)), 1, 2, name="x")
        workers.drain()
        assert views.done == [((1, 2), {"name": "x"})]

    def test_a_coroutine_in_an_event_loop_needs_no_transaction(self) -> None:
        async def work() -> None:
            after_response(views.work_async, "a")

        asyncio.run(work())
        workers.drain()
        assert views.done == [0, "a"]


class TestWorkers:
    def test_an_error_is_logged_and_the_next_work_is_done(self, caplog: pytest.LogCaptureFixture) -> None:
        def fail(_secret: str) -> None:
            raise ValueError("no good")

        after_response(fail, "secret")
        after_response(views.done.append, "a")
        workers.drain()
        assert views.done == ["a"]
        (record,) = [each for each in caplog.records if each.name == "perfkit.api"]
        assert record.levelno == logging.ERROR
        assert "no good" in str(record.exc_info)
        assert "fail" in record.getMessage()
        assert "secret" not in caplog.text.replace("_secret", "")

    def test_its_connections_are_closed_after_it(self) -> None:
        opened: list[Any] = []

        def read() -> None:
            Country.objects.count()
            opened.append((threading.get_ident(), connections["default"]))
            assert connection.connection is not None

        after_response(read)
        workers.drain()
        (ident, used) = opened[0]
        assert ident != threading.get_ident()
        assert connection.vendor == "sqlite" or used.connection is None

    def test_each_work_is_a_scope_of_its_own(self) -> None:
        scopes: list[Any] = []
        for _ in range(2):
            after_response(lambda: scopes.append(current_scope()))
        workers.drain()
        assert None not in scopes
        assert scopes[0] is not scopes[1]

    def test_what_finds_no_place_is_done_by_who_brings_it(self) -> None:
        few = Workers(threads=1, most_waiting=1)
        go = threading.Event()
        idents: list[int] = []
        few.take(go.wait)
        few.take(lambda: idents.append(threading.get_ident()))
        few.take(lambda: idents.append(threading.get_ident()))
        assert idents == [threading.get_ident()]
        go.set()
        few.drain()
        assert len(idents) == 2
        assert idents[1] != idents[0]
        few.take(lambda: idents.append(0))
        few.drain()
        assert idents[2] == 0, "the places were given back"

    def test_many_are_all_done(self) -> None:
        for number in range(3000):
            after_response(views.done.append, number)
        workers.drain()
        assert sorted(views.done) == list(range(3000))

    @pytest.mark.parametrize(("ending", "done"), [("", 20), ("os._exit(0)", 0)])
    def test_an_orderly_end_waits_for_it_and_another_does_not(self, ending: str, done: int) -> None:
        program = f"""
            import os, time
            os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
            os.environ["PERFKIT_DB"] = "sqlite"
            import django
            django.setup()
            from perfkit.api import after_response
            def work():
                time.sleep(0.05)
                print("done", flush=True)
            for _ in range(20):
                after_response(work)
            {ending}
        """
        ran = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
        )
        assert ran.stdout.count("done") == done, ran.stderr

    @pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork here")
    def test_a_forked_process_has_threads_of_its_own(self) -> None:
        program = """
            import os
            os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
            os.environ["PERFKIT_DB"] = "sqlite"
            import django
            django.setup()
            from perfkit.api import after_response
            from perfkit.api.writing.workers import workers
            after_response(print, "parent", flush=True)
            workers.drain()
            after_response(lambda: None)
            child = os.fork()
            if not child:
                after_response(print, "child", flush=True)
                workers.drain()
                os._exit(0)
            os.waitpid(child, 0)
        """
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert ran.stdout.split() == ["parent", "child"], ran.stderr


@pytest.fixture
def sent() -> list[Any]:
    return []


@pytest.fixture
def task(sent: list[Any]) -> Any:
    app = Celery("tests-after", set_as_current=False, broker="memory://", backend="cache+memory://")
    app.conf.task_always_eager = True

    def work(*args: Any, **named: Any) -> None:
        sent.append((args, named))

    return app.task(work, name="tests.after", shared=False)


class TestTasks:
    def test_it_is_sent_with_the_commit(self, task: Any, sent: list[Any]) -> None:
        with transaction.atomic():
            after_response(task, 1, name="x")
            assert sent == []
        assert sent == [((1,), {"name": "x"})]

    def test_it_is_not_sent_after_a_rollback(self, task: Any, sent: list[Any]) -> None:
        with transaction.atomic():
            after_response(task)
            transaction.set_rollback(True)
        assert sent == []

    def test_outside_of_everything_it_is_sent_at_once(self, task: Any, sent: list[Any]) -> None:
        after_response(task.s(1))
        assert sent == [((1,), {})]

    @pytest.mark.parametrize(("status", "times"), [(200, 1), (400, 0)])
    @pytest.mark.parametrize("is_async", [False, True])
    def test_a_request_without_a_transaction_sends_it_once_it_has_succeeded(
        self,
        task: Any,
        sent: list[Any],
        monkeypatch: pytest.MonkeyPatch,
        status: int,
        times: int,
        is_async: bool,
    ) -> None:

        monkeypatch.setattr(views, "work_async", task)
        monkeypatch.setattr(views, "work", task)
        if is_async:

            async def ask() -> Any:
                return await AsyncClient().post(f"/api/after-async?note=a&status={status}")

            async_to_sync(ask)()
        else:
            Client().post(f"/api/after?note=a&status={status}")
        expected = times if is_async else 1  # of the other view the transaction has been committed
        assert sent == [(("a",), {})] * expected

    def test_a_broker_that_does_not_answer_does_not_undo_what_is_committed(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Down:
            def delay(self, *args: Any) -> None:
                raise ConnectionError("no broker")

        with transaction.atomic():
            Country.objects.create(code="PE")
            after_response(Down())
        assert Country.objects.count() == 1
        assert "no broker" in caplog.text
        with pytest.raises(ConnectionError):
            after_response(Down())

    def test_a_task_of_django_is_sent_too(self, sent: list[Any]) -> None:
        class Task:
            def enqueue(self, *args: Any) -> None:
                sent.append(args)

        with transaction.atomic():
            after_response(Task(), 1)
        assert sent == [(1,)]


@app.task(name="tests.quick.after")
def real_task(note: str) -> None:
    """Nobody runs it: its message is looked at in the broker."""


@pytest.mark.redis
class TestBroker:
    @pytest.fixture(autouse=True)
    def _only_ours(self) -> Iterator[None]:
        app.control.purge()
        yield
        app.control.purge()

    def waiting(self) -> int:
        """Return how many tasks wait in the queue that this one is routed to."""
        with app.connection_for_read() as broker:
            return int(broker.default_channel._size("quick"))

    def test_the_message_is_in_the_broker_after_commit_and_not_before(self) -> None:
        with transaction.atomic():
            after_response(real_task, "a")
            assert self.waiting() == 0
        assert self.waiting() == 1

    def test_a_rollback_sends_none(self) -> None:
        with transaction.atomic():
            after_response(real_task, "a")
            transaction.set_rollback(True)
        assert self.waiting() == 0

    def test_a_request_sends_one_where_it_succeeds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(views, "work", real_task)
        post("after?note=a&rolls_back=true")
        assert self.waiting() == 0
        post("after?note=a")
        assert self.waiting() == 1
