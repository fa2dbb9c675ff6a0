"""The preset under real workers, on Valkey and on RabbitMQ."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from celery.exceptions import TimeLimitExceeded
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from perfkit.api import after_response
from perfkit.jobs import job_status
from perfkit.models import Job, JobState
from perfkit.tasks import configure
from perfkit.tasks.limits import LimitsByQueue
from perfkit.tasks.queues import QUEUES, TaskQueue, broker_of, priority_of
from project.celery import app as project_app
from tests.caching.conftest import wait_until
from tests.jobs.torture import Broker, Torture, tell_workers, tortured
from tests.plugins.rabbitmq import DisposableRabbitmq
from tests.plugins.valkey import DisposableValkey
from tests.tasks import traces
from tests.tasks.workers import database_url, running_worker
from tests.testapp import jobs
from tests.testapp.effects import Effect

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]

NAMES = [queue.name for queue in QUEUES]
"""The most urgent comes first."""

SENT = {"quick": 5, "default": 5, "ai": 5, "heavy": 20}
URGENT_FIRST = [name for name in NAMES for _ in range(SENT[name])]

LIMITS = {queue.name: (queue.soft_seconds, queue.hard_seconds) for queue in QUEUES} | {"quick": (1, 2)}
"""Of the tasks that this process sends; those of `quick` would be too long to wait for."""

WORKER = "tests.tasks.preset_worker"
JOBS = 200
PATIENCE_SECONDS = 120


@contextmanager
def running_valkey() -> Iterator[Broker]:
    server = DisposableValkey()
    server.start()
    yield server
    server.kill()


@contextmanager
def running_rabbitmq() -> Iterator[Broker]:
    with tempfile.TemporaryDirectory() as folder:
        server = DisposableRabbitmq(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.remove()


BROKERS = {"valkey": running_valkey, "rabbitmq": running_rabbitmq}


@pytest.fixture(scope="module", params=["valkey", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def broker(kind: str) -> Iterator[Broker]:
    """A broker that these tests alone use."""
    with BROKERS[kind]() as server:
        yield server


@contextmanager
def configured(broker: Broker) -> Iterator[Celery]:
    """An app on the broker, under the preset; its queues are there, and empty."""
    app = Celery("tests", broker=broker.url, backend=settings.CELERY_RESULT_BACKEND, set_as_current=False)
    configure(app, task_annotations=(LimitsByQueue(LIMITS),))
    empty_queues(app)
    yield app
    app.close()


@contextmanager
def current_app(broker: Broker) -> Iterator[Celery]:
    """The same as the one by which this process sends."""
    with configured(broker) as app:
        app.set_current()
        yield app
        project_app.set_current()


@pytest.fixture
def app(broker: Broker) -> Iterator[Celery]:
    """This process's app."""
    with current_app(broker) as app:
        yield app


def empty_queues(app: Celery) -> None:
    with app.connection_for_write() as connection, connection.channel() as channel:
        for queue in app.conf.task_queues:
            queue(channel).declare()
            queue(channel).purge()


def worker(app: Celery, log: Path, *, queues: str) -> Any:
    """Run a worker of one process on these queues."""
    environment = {
        "CELERY_BROKER_URL": app.conf.broker_url,
        "CELERY_RESULT_BACKEND": app.conf.result_backend,
        "DJANGO_SETTINGS_MODULE": "tests.jobs.worker_settings",
    }
    return running_worker(log, "--concurrency=1", "-Q", queues, module=WORKER, pings=app, **environment)


def environment(broker: Broker) -> dict[str, str]:
    """That of workers which are killed."""
    return {
        **os.environ,
        "DATABASE_URL": database_url(),
        "DATABASE_POOL_SIZE": "1",
        "CELERY_BROKER_URL": broker.url,
        "DJANGO_SETTINGS_MODULE": "tests.jobs.worker_settings",
        "DJANGO_SECRET_KEY": "only-for-tests",
    }


def sizes(app: Celery) -> dict[str, int]:
    """Return how many messages wait in each queue."""
    with app.connection_for_write() as connection, connection.channel() as channel:
        return {queue.name: queue(channel).queue_declare().message_count for queue in app.conf.task_queues}


def notes() -> list[str]:
    """Return what tasks left, in the order in which they ran."""
    return list(Effect.objects.order_by("pk").values_list("note", flat=True))


def wait_for(claim: Callable[[], bool]) -> None:
    wait_until(claim, seconds=PATIENCE_SECONDS)


class TestWithoutWorkers:
    @pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
    def test_a_message_has_its_queues_priority(self, app: Celery, queue: TaskQueue) -> None:
        """Of a task that its name leads there, of one that is sent there, and of a job that is declared for it."""
        other = next(name for name in NAMES if name != queue.name)
        traces.TASKS[queue.name].delay(1)
        traces.TASKS[other].apply_async([2], queue=queue.name)
        traces.JOBS[queue.name].enqueue(3)
        assert sizes(app) == {**dict.fromkeys(NAMES, 0), queue.name: 3}
        with app.connection_for_write() as connection, connection.channel() as channel:
            declared = app.amqp.queues[queue.name](channel)
            messages = [declared.get(no_ack=True) for _ in range(3)]
        priority = queue.priority(broker_of(app.conf.broker_url))
        assert [message.properties["priority"] for message in messages] == [priority] * 3

    def test_what_is_rolled_back_is_not_sent(self, app: Celery) -> None:
        def send_two() -> None:
            traces.JOBS["quick"].enqueue(1)
            after_response(traces.TASKS["quick"], 2)
            assert sizes(app)["quick"] == 0

        with pytest.raises(ZeroDivisionError), transaction.atomic():
            send_two()
            raise ZeroDivisionError
        assert sizes(app) == dict.fromkeys(NAMES, 0)
        assert not Job.objects.exists()
        with transaction.atomic():
            send_two()
        assert sizes(app) == {**dict.fromkeys(NAMES, 0), "quick": 2}


def test_a_worker_takes_from_its_queues_only(app: Celery, tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        traces.TASKS[name].delay(number, f"task for {name}")
        traces.JOBS[name].enqueue(number, f"job for {name}")
    with worker(app, tmp_path / "log", queues="quick"):
        wait_for(lambda: len(notes()) == 2)
        traces.TASKS["quick"].delay(9, "last")
        wait_for(lambda: len(notes()) == 3)
    assert set(notes()) == {"task for quick", "job for quick", "last"}
    assert sizes(app) == {"quick": 0, "default": 2, "ai": 2, "heavy": 2}


class TestOneWorker:
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _worker(
        cls, django_db_setup: None, broker: Broker, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[None]:
        """One process for all queues."""
        log = tmp_path_factory.mktemp("one") / "log"
        with configured(broker) as app, worker(app, log, queues=",".join(NAMES)):
            yield

    def order(self, app: Celery, file: Path, send: Callable[[int, str], object]) -> list[str]:
        """Return in which order those run that are sent while the worker is busy, the least urgent first."""
        app.send_task("tests.hold", [str(file)])
        wait_for(Effect.objects.filter(note="held").exists)
        for name in reversed(NAMES):
            for number in range(SENT[name]):
                send(number, name)
        file.touch()
        wait_for(lambda: len(notes()) == 1 + sum(SENT.values()))
        return notes()[1:]

    def test_what_is_urgent_overtakes_in_its_queue(self, app: Celery, tmp_path: Path) -> None:
        kind = broker_of(app.conf.broker_url)

        def send(number: int, name: str) -> None:
            traces.TASKS["default"].apply_async([number, name], priority=priority_of(name, kind))

        assert self.order(app, tmp_path / "go", send) == URGENT_FIRST

    @pytest.mark.parametrize("sent", ["tasks", "jobs"])
    def test_what_is_urgent_overtakes_in_other_queues(self, app: Celery, tmp_path: Path, sent: str) -> None:
        """On Redis or Valkey; RabbitMQ lets the queues of a worker take turns."""

        def send(number: int, name: str) -> None:
            if sent == "tasks":
                traces.TASKS[name].delay(number, name)
            else:
                traces.JOBS[name].enqueue(number, name)

        order = self.order(app, tmp_path / "go", send)
        if broker_of(app.conf.broker_url) == "redis":
            assert order == URGENT_FIRST
        else:
            assert Counter(order) == SENT

    def test_a_result_is_kept_for_an_hour(self, app: Celery) -> None:
        result = traces.TASKS["quick"].delay(21)
        assert result.get(timeout=PATIENCE_SECONDS) == 42
        with redis.Redis.from_url(settings.CELERY_RESULT_BACKEND) as client:
            assert 3000 < client.ttl(f"celery-task-meta-{result.id}") <= 3600

    def test_a_task_that_is_tried_again_stays_in_its_queue(self, app: Celery) -> None:
        """Though its name leads to another one."""
        assert traces.come_back.apply_async(queue="heavy").get(timeout=PATIENCE_SECONDS) == "heavy"

    def test_a_task_has_the_limits_of_its_queue(self, app: Celery) -> None:
        assert traces.limits.delay().get(timeout=PATIENCE_SECONDS) == [1740, 1800]

    def test_a_task_that_overstays_is_told_and_then_killed(self, app: Celery) -> None:
        result = traces.overstay.delay()
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=PATIENCE_SECONDS)
        assert traces.TASKS["quick"].delay(3, "the next").get(timeout=PATIENCE_SECONDS) == 6
        assert notes() == ["told", "the next"], "it is not run again"

    def test_a_job_that_is_told_of_its_limit_is_a_dead_letter(self, app: Celery) -> None:
        status = traces.overstay_in_a_job.enqueue()
        wait_for(lambda: job_status(status.id).is_ended)
        found = job_status(status.id)
        assert found.state == JobState.DEAD
        assert "SoftTimeLimitExceeded" in found.error
        assert notes() == []

    def test_a_job_that_is_killed_at_its_limit_runs_again(self, app: Celery) -> None:
        status = traces.overstay_in_the_first_run.enqueue()
        wait_for(lambda: job_status(status.id).is_ended)
        found = job_status(status.id)
        assert (found.state, found.runs) == (JobState.DONE, 2)
        assert Effect.objects.count() == 1

    def test_a_task_whose_process_is_killed_runs_again(self, app: Celery, tmp_path: Path) -> None:
        assert traces.die_once.delay(str(tmp_path / "died")).get(timeout=PATIENCE_SECONDS) == "done"
        assert notes() == ["ran again"]


def test_each_job_has_one_effect_whatever_is_killed(kind: str, tmp_path: Path) -> None:
    """Children, workers and the broker: RabbitMQ gives out again what it has, what Valkey had is sent again."""
    is_durable = kind == "rabbitmq"
    log = tmp_path / "workers.log"
    with BROKERS[kind]() as broker, current_app(broker) as app:
        kept = 20
        for number in range(kept):
            traces.TASKS["heavy"].delay(number)
        with tortured(environment(broker), broker, log, app=WORKER, queues="quick", seed=1) as torture:
            jobs.leave_effect_slowly.using().enqueue_many(
                [(number, number % 7 / 50) for number in range(JOBS)]
            )
            for done in (10, 30, 60, 90, 120, 150):
                wait_for_done(done, torture, log)
                torture.disturb()
                if not is_durable or done == 150:
                    let_half_a_minute_pass()
            wait_for_done(JOBS, torture, log)
        traces.TASKS["heavy"].delay(kept)  # by a connection that the broker's end has broken
        assert sizes(app)["heavy"] == (kept if is_durable else 0) + 1
    assert Counter(Job.objects.values_list("state", flat=True)) == {JobState.DONE: JOBS}, tell_workers(log)
    assert Counter(Effect.objects.values_list("number", flat=True)) == Counter(range(JOBS))
    assert len(torture.counts) == 4, torture.counts


def let_half_a_minute_pass() -> None:
    """Have the jobs that wait sent again at once, as those are whose message went with a worker or with Valkey."""
    Job.objects.filter(state=JobState.QUEUED).update(due_at=Now())


def wait_for_done(number: int, torture: Torture, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while Job.objects.filter(state=JobState.DONE).count() < number:
        assert time.monotonic() < deadline, (torture.counts, tell_workers(log))
        time.sleep(0.05)
        torture.resume()
