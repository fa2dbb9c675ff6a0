"""The status of a background task over HTTP.

The reader is handed in, so that this room need not know the task queue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Field, Router, Schema
from ninja.security import django_auth_is_staff


class ProgressLike(Protocol):
    """How far a task is."""

    @property
    def current(self) -> int: ...  # noqa: D102
    @property
    def total(self) -> int: ...  # noqa: D102
    @property
    def percent(self) -> float: ...  # noqa: D102
    @property
    def message(self) -> str: ...  # noqa: D102


class TaskStatusLike(Protocol):
    """What a reader returns, for example `perfkit.tasks.status.TaskStatus`."""

    @property
    def state(self) -> str: ...  # noqa: D102
    @property
    def progress(self) -> ProgressLike | None: ...  # noqa: D102
    @property
    def result(self) -> Any: ...  # noqa: D102
    @property
    def error(self) -> str | None: ...  # noqa: D102


class ProgressOut(Schema):
    """How far the task is."""

    current: int
    total: int
    percent: float
    message: str


class TaskStatusOut(Schema):
    """Where a task stands; `result` only after success, `error` only after a failure."""

    id: UUID
    state: str = Field(description="PENDING also where no task has this id, or its result has expired.")
    progress: ProgressOut | None
    result: Any | None
    error: str | None


class ErrorOut(Schema):
    """What went wrong."""

    detail: str


def task_status_router(
    read_status: Callable[[str], TaskStatusLike], *, auth: Any = django_auth_is_staff
) -> Router:
    """Return a router with `GET task-status/{id}`.

    A result may hold anything, so by default only staff with a session may read it;
    the ids are random UUIDs, and anything else is a 422.
    The answer is marked `no-store`.

    Args:
        read_status: Reads the status of a task by its id, for example `perfkit.tasks.status.read_status`.
            An UnavailableError that it raises becomes a 503, see `perfkit.api.handlers`.
        auth: Any of ninja's authentications; it cannot be left out.

    Raises:
        ValueError: `auth` is None.
    """
    if auth is None:
        raise ValueError("The status of tasks is not for everybody: auth cannot be None.")
    router = Router(auth=auth, tags=["tasks"])

    @router.get(
        "task-status/{task_id}",
        response={200: TaskStatusOut, 401: ErrorOut, 503: ErrorOut},
        url_name="task-status",
    )
    def task_status(request: HttpRequest, response: HttpResponse, task_id: UUID) -> dict[str, Any]:
        """Return where a background task stands: its state, its progress, its result or error."""
        status = read_status(str(task_id))
        response["Cache-Control"] = "no-store"
        return {
            "id": task_id,
            "state": status.state,
            "progress": status.progress,
            "result": status.result,
            "error": status.error,
        }

    return router
