"""A task is a scope of cached reads and of instances, is watched, and leaves its caller's scope as it was."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.conf import LazySettings
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path

from perfkit.caching import token_scope
from perfkit.caching.counting import SLOT_SECONDS, WINDOWS
from perfkit.caching.reports import summed
from perfkit.caching.scope import TokenScope, current_scope, end_scope
from perfkit.conf import configured
from perfkit.loading import get_or_load
from perfkit.loading.guard.current import is_watching
from perfkit.loading.identity_scope import current_map
from perfkit.monitoring.reads import ledger_reads
from project.celery import app
from project.flights.models import Airline
from tests.caching.conftest import wait_until
from tests.plugins.valkey import DisposableValkey
from tests.tasks import reading
from tests.tasks.workers import running_worker


@pytest.fixture(autouse=True)
def _outside_of_requests() -> None:
    """A test client whose answer nobody has closed leaves its request, and so its scope, open."""
    if current_scope() is not None:
        end_scope()


@app.task(name="tests.scope")
def scope_number() -> int:
    scope = current_scope()
    assert isinstance(scope, TokenScope)
    return id(scope)


@app.task(name="tests.failing")
def failing() -> None:
    raise ValueError


@app.task(name="tests.nested")
def nested() -> bool:
    own = id(current_scope())
    return scope_number.apply().get(disable_sync_subtasks=False) != own == id(current_scope())


def test_it_is_one_of_its_own() -> None:
    assert current_scope() is None
    assert scope_number.apply().get()
    assert current_scope() is None


def test_it_leaves_that_of_a_request_which_runs_it_at_once() -> None:
    with token_scope():
        own = current_scope()
        assert scope_number.apply().get() != id(own)
        assert current_scope() is own


def test_it_leaves_that_of_a_task_which_runs_it_at_once() -> None:
    assert nested.apply().get()


def test_it_ends_with_a_task_that_fails() -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the task's own
        failing.apply().get()
    assert current_scope() is None


@pytest.fixture(scope="module")
def server() -> Iterator[DisposableValkey]:
    """A cache server of these tests alone: every question it hears is theirs."""
    server = DisposableValkey()
    server.start()
    yield server
    server.kill()


@pytest.fixture
def airline(server: DisposableValkey, transactional_db: None, settings: LazySettings) -> Airline:
    """A row that is in the cache of that server, which this process uses too."""
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": server.url}}
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 5.0, "CACHE_STATISTICS": False}
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    airline = Airline.objects.create(code="AA", name="old")
    for _ in range(3):
        reading.name("AA")
    return airline


@pytest.fixture
def questions(server: DisposableValkey) -> Callable[[Callable[[], Any]], int]:
    """A function that returns how often that server is asked for tokens while something is done."""

    def count(work: Callable[[], Any]) -> int:
        with redis.Redis.from_url(server.url) as client:
            client.config_resetstat()
            work()
            return int(client.info("commandstats").get("cmdstat_mget", {}).get("calls", 0))

    return count


@pytest.fixture(scope="module", params=["prefork", "threads"])
def worker(
    request: pytest.FixtureRequest,
    server: DisposableValkey,
    django_db_setup: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """A worker that runs one task at a time, all of them in one process and one thread."""
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    pool = [f"--pool={request.param}", "--concurrency=1"]
    with running_worker(log, *pool, f"--include={reading.__name__}", REDIS_URL=server.url):
        yield


def reads_of_others() -> int:
    """Return how many reads of an airline other processes have measured; this one measures none."""
    slot = int(time.time() // SLOT_SECONDS)
    labels, _ = summed(ledger_reads.counted(WINDOWS["hour"], [slot - 1, slot]))
    return sum(each.hits + each.misses for each in labels if each.label == "flights.Airline")


def read_twice() -> reading.Told:
    """Have the worker run the task, and return what it tells."""
    told: reading.Told = reading.read_twice.delay("AA").get(timeout=60)
    return told


@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.usefixtures("airline", "worker")
class TestWorker:
    def test_it_asks_the_server_once_in_a_task(self, questions: Callable[..., int]) -> None:
        tasks = [read_twice()]  # the process forgets what it holds of another test, which costs a question
        counts = [questions(lambda: tasks.append(read_twice())) for _ in range(3)]
        assert counts == [1, 1, 1]
        assert [task["names"] for task in tasks] == [["old", "old"]] * 4
        assert {tuple(task["runner"]) for task in tasks} == {tuple(tasks[0]["runner"])}
        assert tasks[0]["runner"][0] != os.getpid()

    def test_what_its_tasks_have_read_is_counted(self) -> None:
        wait_until(lambda: bool(read_twice()) and reads_of_others() > 0)

    def test_it_sees_what_others_have_committed_before_it_started(self) -> None:
        runners = set()
        for value in ("old", "one", "two"):
            Airline.objects.filter(pk="AA").update(name=value)
            for _ in range(2):
                task = read_twice()
                assert task["names"] == [value, value]
                runners.add(tuple(task["runner"]))
        assert len(runners) == 1, "what one task remembers would be there for the next"

    def test_it_sees_its_own_write(self) -> None:
        for before, new in (("old", "one"), ("one", "two")):
            task = reading.rename.delay("AA", new).get(timeout=60)
            assert task["names"] == [before, new, new]
            assert reading.name("AA") == new, "and so do others"

    @pytest.mark.parametrize("task", [reading.read_twice, reading.read_and_fail, reading.read_and_retry])
    def test_it_leaves_nothing_to_the_next(self, task: Any, questions: Callable[..., int]) -> None:
        task.delay("AA").get(timeout=60, propagate=False)
        Airline.objects.filter(pk="AA").update(name="new")
        tasks = [read_twice(), read_twice()]
        assert questions(lambda: tasks.append(read_twice())) == 1
        assert [task["names"] for task in tasks] == [["new", "new"]] * 3
        assert len(tasks[-1]["was_free"]) >= 3
        assert all(tasks[-1]["was_free"])


def page(request: HttpRequest) -> JsonResponse:
    scope = current_scope()
    names = [reading.name("AA")]
    app.tasks[request.GET["task"]].delay("AA")
    names.append(reading.name("AA"))
    return JsonResponse({"names": names, "is_in_its_scope": current_scope() is scope is not None})


urlpatterns = [path("page", page)]


@pytest.fixture
def eager() -> Iterator[None]:
    """Tasks run at once, in the process that asks for them."""
    before, app.conf.task_always_eager = app.conf.task_always_eager, True
    yield
    app.conf.task_always_eager = before


@pytest.mark.redis
@pytest.mark.usefixtures("airline", "eager")
@pytest.mark.parametrize(
    ("task", "attempts"), [("tests.read_twice", 1), ("tests.read_and_fail", 1), ("tests.read_and_retry", 2)]
)
def test_a_request_goes_on_in_its_own_after_a_task_that_it_ran_at_once(
    task: str,
    attempts: int,
    questions: Callable[..., int],
    settings: LazySettings,
) -> None:
    settings.ROOT_URLCONF, settings.MIDDLEWARE = __name__, []
    answers: list[Any] = []
    count = questions(lambda: answers.append(Client().get("/page", {"task": task}).json()))
    assert answers == [{"names": ["old", "old"], "is_in_its_scope": True}]
    assert count == 1 + attempts, "the request asks once, and so does each attempt of the task"
    assert current_scope() is None


@app.task(name="tests.loading")
def loading(key: str) -> tuple[bool, int]:
    with CaptureQueriesContext(connection) as captured:
        is_same = get_or_load(Airline, key) is get_or_load(Airline, key)
        for code in ("AA", "UA"):
            list(Airline.objects.uncached().filter(code=code))
    return is_same, len(captured)


@pytest.mark.django_db
def test_a_task_is_a_map_of_instances_and_is_watched_by_the_guard(caplog: pytest.LogCaptureFixture) -> None:
    Airline.objects.create(code="AA", name="American")
    with override_settings(PERFKIT={**configured(), "N_PLUS_ONE_MODE": "log"}):
        is_same, queries = loading.apply(["AA"]).get()
    assert is_same
    assert queries in {2, 3}  # the cache may know the airline
    assert "N+1: 2 queries for flights.Airline, filter()" in caplog.text
    assert current_map() is None
    assert not is_watching()
