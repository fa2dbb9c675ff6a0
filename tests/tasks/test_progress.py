from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st

from perfkit.tasks import configure, progress
from perfkit.tasks.progress import PacedProgress, make_progress, report_progress
from perfkit.tasks.status import TaskStatus, read_status
from tests.plugins.valkey import DisposableValkey

pytestmark = pytest.mark.django_db


def make_app(url: str = "cache+memory://") -> Celery:
    app = Celery("tests", set_as_current=False, broker="memory://", backend=url)
    configure(app)
    return app


def run(app: Celery, work: Callable[[Any], Any]) -> tuple[str, Any]:
    """Run `work(task)` as a worker would, in this process; return the id and the result."""
    task = app.task(name=f"tests.{uuid4()}", bind=True, shared=False)(work)
    task_id = str(uuid4())
    app.conf.update(task_store_eager_result=True)
    return task_id, task.apply(task_id=task_id).get()


@pytest.fixture(autouse=True)
def healthy() -> Iterator[None]:
    progress.breaker.succeeded()
    yield
    progress.breaker.succeeded()


@given(st.integers(-10, 10**6), st.integers(-10, 10**6))
def test_its_percentage_stays_between_0_and_100(current: int, total: int) -> None:
    assert 0 <= make_progress(current, total).percent <= 100


def test_nothing_to_do_is_done() -> None:
    assert make_progress(0, 0).percent == 100


def test_a_running_task_can_be_watched() -> None:
    app = make_app()
    seen: list[TaskStatus] = []

    def work(task: Any) -> str:
        assert report_progress(task, 1, 4, "planes")
        seen.append(read_status(task.request.id, app=app))
        return "done"

    task_id, _ = run(app, work)
    assert seen == [TaskStatus("PROGRESS", make_progress(1, 4, "planes"), None, None)]
    assert read_status(task_id, app=app) == TaskStatus("SUCCESS", None, "done", None)


def test_a_task_called_as_a_function_tells_nothing() -> None:
    def work(task: Any) -> bool:
        return report_progress(task, 1, 2)

    task = make_app().task(work, name="tests.plain", bind=True, shared=False)
    assert task() is False


@pytest.mark.redis
def test_a_dead_result_store_never_fails_the_task_and_is_logged_once(
    valkey_server: Callable[[], DisposableValkey], caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.breaker, "_clock", lambda: now)
    server = valkey_server()
    app = make_app(server.url)
    app.conf.update(
        redis_retry_on_timeout=False,
        result_backend_transport_options={"retry_policy": {"timeout": 0.1, "max_retries": 0}},
    )
    told: list[bool] = []

    def work(task: Any) -> int:
        nonlocal now
        told.append(report_progress(task, 1, 4))
        server.kill()
        for step in (2, 3, 4):
            told.append(report_progress(task, step, 4))
            now += 5
        server.start()
        told.append(report_progress(task, 4, 4))
        return 42

    with caplog.at_level(logging.INFO, "perfkit.tasks"):
        task_id, result = run(app, work)
    assert result == 42
    assert told == [True, False, False, False, True]
    levels = [record.levelname for record in caplog.records if record.name == "perfkit.tasks"]
    assert levels == ["WARNING", "INFO"]
    assert read_status(task_id, app=app).state == "SUCCESS"


def test_its_pace_leaves_out_what_comes_too_soon() -> None:
    app, now, seen = make_app(), 0.0, []

    def work(task: Any) -> None:
        nonlocal now
        tell = PacedProgress(task, interval_seconds=0.25, clock=lambda: now)
        for step in range(1, 101):
            tell(step, 100)
            status = read_status(task.request.id, app=app)
            assert status.progress is not None
            seen.append(status.progress.current)
            now += 0.01

    run(app, work)
    assert seen[0] == 1  # the first is told at once,
    assert seen[-1] == 100  # and so is the last
    assert len(set(seen)) == 5
