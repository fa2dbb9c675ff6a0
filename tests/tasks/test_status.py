from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from celery import Celery

from perfkit.errors import TaskStatusUnavailableError, WarmingError
from perfkit.tasks import configure
from perfkit.tasks.progress import Progress
from perfkit.tasks.status import TaskStatus, read_status

pytestmark = pytest.mark.django_db


@pytest.fixture
def app() -> Celery:
    app = Celery("tests", set_as_current=False, broker="memory://", backend="cache+memory://")
    configure(app, task_store_eager_result=True)
    return app


def test_a_task_that_nobody_took_is_pending(app: Celery) -> None:
    assert read_status(str(uuid4()), app=app) == TaskStatus("PENDING", None, None, None)


def test_a_task_that_has_begun_is_started(app: Celery) -> None:
    task_id = str(uuid4())
    app.backend.mark_as_started(task_id, pid=1, hostname="here")
    assert read_status(task_id, app=app) == TaskStatus("STARTED", None, None, None)


@pytest.mark.parametrize(
    ("meta", "progress"),
    [
        ({"current": 1, "total": 2}, Progress(1, 2, 50.0, "")),
        ({"current": 1, "total": 2, "message": None, "eta": 3}, Progress(1, 2, 50.0, "")),
        ({"current": 1, "total": 2, "message": "planes"}, Progress(1, 2, 50.0, "planes")),
        ({"current": 1}, None),
        ({"current": "1", "total": None}, None),
        ({"current": 0.5, "total": 1}, None),
        ({"done": 1}, None),
        ([1, 2], None),
        (None, None),
    ],
)
def test_a_progress_told_by_celerys_own_means_never_fails(
    app: Celery, meta: Any, progress: Progress | None
) -> None:
    def work() -> None:
        pass

    task_id = str(uuid4())
    app.task(work, name="tests.work", shared=False).update_state(task_id, "PROGRESS", meta)
    assert read_status(task_id, app=app) == TaskStatus("PROGRESS", progress, None, None)


@pytest.mark.parametrize("result", [None, 0, "text", [1, {"a": None}]])
def test_a_result_comes_back(app: Celery, result: Any) -> None:
    def answer() -> Any:
        return result

    task = app.task(answer, name="tests.return", shared=False)
    assert read_status(task.apply().id, app=app) == TaskStatus("SUCCESS", None, result, None)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no"), "ValueError: no"),
        (
            WarmingError(["planes: down"], 3),
            "WarmingError: 1 of 3 warmers failed: planes: down",
        ),
    ],
)
def test_an_error_comes_back_as_text(app: Celery, error: Exception, text: str) -> None:
    def fail() -> None:
        raise error

    result = app.task(fail, name="tests.fail", shared=False).apply()
    assert read_status(result.id, app=app) == TaskStatus("FAILURE", None, None, text)


def test_a_store_that_does_not_answer_is_unavailable() -> None:
    app = Celery("tests", set_as_current=False, backend="redis://127.0.0.1:1/0")
    task_id = str(uuid4())
    with pytest.raises(TaskStatusUnavailableError, match=task_id):
        read_status(task_id, app=app)
