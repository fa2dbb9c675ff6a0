from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import path
from ninja import NinjaAPI

from perfkit.api import add_error_handlers, task_status_router
from perfkit.errors import TaskStatusUnavailableError


@dataclass
class Progress:
    current: int = 1
    total: int = 4
    percent: float = 25.0
    message: str = "planes"
    eta_seconds: float | None = 7.5


@dataclass
class Status:
    state: str
    progress: Progress | None = None
    result: Any = None
    error: str | None = None


STATUSES: dict[str, Status] = {}


def read_status(task_id: str) -> Status:
    try:
        return STATUSES[task_id]
    except KeyError as error:
        raise TaskStatusUnavailableError(task_id, "down") from error


api = NinjaAPI(urls_namespace="tests-status")
add_error_handlers(api)
api.add_router("", task_status_router(read_status))
urlpatterns = [path("api/", api.urls)]

pytestmark = [pytest.mark.urls("tests.api.test_status"), pytest.mark.django_db]


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(get_user_model().objects.create_user("staff", is_staff=True))
    return client


@pytest.mark.parametrize(
    "status",
    [
        Status("PENDING"),
        Status("PROGRESS", progress=Progress()),
        Status("SUCCESS", result=[{"name": "airports", "entries": 1458}]),
        Status("FAILURE", error="ValueError: no"),
    ],
    ids=lambda status: status.state,
)
def test_it_answers_state_progress_result_and_error(staff: Client, status: Status) -> None:
    task_id = str(uuid4())
    STATUSES[task_id] = status
    response = staff.get(f"/api/task-status/{task_id}")
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    assert response.json() == {
        "id": task_id,
        "state": status.state,
        "progress": vars(status.progress) if status.progress else None,
        "result": status.result,
        "error": status.error,
    }


def test_it_refuses_strangers_and_users_who_are_not_staff(client: Client) -> None:
    url = f"/api/task-status/{uuid4()}"
    assert client.get(url).status_code == 401
    client.force_login(get_user_model().objects.create_user("ann"))
    assert client.get(url).status_code == 401


@pytest.mark.parametrize("task_id", ["1", "abc", "celery-task-meta-1", "x" * 36])
def test_it_refuses_what_is_no_uuid(staff: Client, task_id: str) -> None:
    response = staff.get(f"/api/task-status/{task_id}")
    assert response.status_code == 422
    assert [problem["loc"] for problem in response.json()["detail"]] == [["path", "task_id"]]


def test_it_does_not_know_a_path_for_an_id(staff: Client) -> None:
    assert staff.get("/api/task-status/..%2f..%2fkeys").status_code == 404


def test_it_answers_503_where_the_store_is_down(staff: Client) -> None:
    assert staff.get(f"/api/task-status/{uuid4()}").status_code == 503


def test_it_cannot_be_open_to_everybody() -> None:
    with pytest.raises(ValueError, match="not for everybody"):
        task_status_router(read_status, auth=None)
