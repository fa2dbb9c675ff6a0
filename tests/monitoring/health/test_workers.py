"""Brokers and workers: real ones, there, hanging, and gone."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from perfkit.tasks import configure as configure_celery
from perfkit.tasks import health
from project.celery import app as project_app
from tests.caching.conftest import wait_until
from tests.monitoring.health.asking import result, standing
from tests.plugins.rabbitmq import DisposableRabbitmq
from tests.plugins.valkey import DisposableValkey
from tests.tasks.workers import running_worker

MINUTE = 60.0


@contextmanager
def current_app(broker: str | None) -> Iterator[Celery]:
    """The app of all threads of this process, on a broker of the test's own; without one, with no settings."""
    app = Celery("health", broker=broker, set_as_current=False)
    if broker is not None:
        configure_celery(app)
    app.set_default()
    app.set_current()
    try:
        yield app
    finally:
        project_app.set_default()
        project_app.set_current()
        app.close()


@pytest.fixture
def broker(valkey_server: Callable[[], DisposableValkey]) -> DisposableValkey:
    return valkey_server()


@pytest.fixture
def app(broker: DisposableValkey) -> Iterator[Celery]:
    with current_app(broker.url) as app:
        yield app


@pytest.fixture
def rabbitmq() -> Iterator[DisposableRabbitmq]:
    with tempfile.TemporaryDirectory() as folder:
        server = DisposableRabbitmq(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.remove()


def is_well(name: str) -> bool:
    return result(name).status == "ok"


@pytest.mark.redis
@pytest.mark.usefixtures("app")
def test_a_broker_on_valkey_is_there_gone_and_back(broker: DisposableValkey) -> None:
    assert standing("broker") == ("ok", "")
    broker.kill()
    assert standing("broker")[0] == "degraded"
    assert "Connection refused" in standing("broker")[1]
    broker.start()
    wait_until(lambda: is_well("broker"), seconds=MINUTE)


@pytest.mark.redis
@pytest.mark.usefixtures("app")
def test_a_broker_on_valkey_that_hangs_is_told(
    broker: DisposableValkey, configure: Callable[..., None]
) -> None:
    assert standing("broker") == ("ok", "")
    configure(HEALTH_TIMEOUT=1.0)
    broker.pause()
    try:
        assert standing("broker")[0] == "degraded"
        assert standing("workers")[0] == "degraded"
    finally:
        broker.resume()
    wait_until(lambda: is_well("broker"), seconds=MINUTE)


@pytest.mark.redis
def test_a_broker_that_goes_while_workers_are_asked_ends_the_check(
    broker: DisposableValkey, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = health.SendsOnce.publish

    def publish_when_it_has_gone(self: Any, *args: Any, **options: Any) -> Any:
        broker.kill()
        return publish(self, *args, **options)

    monkeypatch.setattr(health.SendsOnce, "publish", publish_when_it_has_gone)
    status, message = standing("workers")
    assert status == "degraded"
    assert "Connection" in message, message


@pytest.mark.rabbitmq
def test_a_broker_on_rabbitmq_is_there_hanging_and_gone(
    rabbitmq: DisposableRabbitmq, configure: Callable[..., None]
) -> None:
    configure(HEALTH_TOLERATED=[])
    with current_app(rabbitmq.url):
        wait_until(lambda: is_well("broker"), seconds=MINUTE)
        rabbitmq.pause()
        try:
            configure(HEALTH_TIMEOUT=2.0)
            assert standing("broker")[0] == "failed"
        finally:
            rabbitmq.resume()
        configure(HEALTH_TIMEOUT=10.0)
        wait_until(lambda: is_well("broker"), seconds=MINUTE)
        assert standing("workers") == ("failed", "no worker answers")
        rabbitmq.kill()
        assert "refused" in standing("broker")[1]
        assert standing("workers")[0] == "failed"


@pytest.mark.rabbitmq
def test_a_wrong_password_is_told_without_it(rabbitmq: DisposableRabbitmq) -> None:
    with current_app(rabbitmq.url.replace("guest:guest", "guest:not-the-password")):
        status, message = standing("broker")
    assert status == "degraded"
    assert "not-the-password" not in message


@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.django_db(transaction=True)
def test_workers_are_there_stopped_and_gone(
    broker: DisposableValkey, app: Celery, tmp_path: Path, configure: Callable[..., None]
) -> None:
    def come_to(*expected: str) -> None:
        wait_until(lambda: standing("workers") == expected, seconds=MINUTE)

    nobody = ("degraded", "no worker answers")
    some = ("degraded", "no worker takes from: ai, heavy")
    configure(HEALTH_TIMEOUT=4.0)
    assert standing("workers") == nobody
    sent = {"CELERY_BROKER_URL": broker.url, "CELERY_RESULT_BACKEND": broker.url}
    with running_worker(tmp_path / "a", "-Q", "quick,default", "-P", "solo", pings=app, **sent) as process:
        come_to(*some)
        with running_worker(tmp_path / "b", "-Q", "ai,heavy", "-P", "solo", pings=app, **sent) as other:
            come_to("ok", "")
            other.send_signal(signal.SIGSTOP)
            come_to(*some)
            other.send_signal(signal.SIGCONT)
            come_to("ok", "")
        process.kill()
        process.wait(timeout=10)
        assert standing("workers") == nobody


@pytest.mark.redis
def test_connections_that_the_project_uses_are_not_waited_for(app: Celery) -> None:
    app.conf.broker_pool_limit = 1
    with app.producer_pool.acquire(block=True):
        assert standing("broker") == ("ok", "")
        assert standing("workers") == ("degraded", "no worker answers")


def test_a_process_without_the_projects_app_says_so(settings: Any) -> None:
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"
    with current_app(None):
        assert standing("broker") == (
            "degraded",
            "CELERY_BROKER_URL is set, and this process has not loaded the project's Celery app",
        )
        settings.CELERY_BROKER_URL = ""
        assert standing("broker") == ("ok", "no broker is named")
        assert standing("workers") == ("ok", "no broker is named")


def test_tasks_that_run_where_they_are_sent_need_no_worker() -> None:
    with current_app("redis://127.0.0.1:1/0") as app:
        app.conf.task_always_eager = True
        assert standing("workers") == ("ok", "tasks run where they are sent")
