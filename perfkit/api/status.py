"""The status of a background task over HTTP: once, or as a stream of events.

The reader is handed in, so that this room need not know the task queue.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any, Final, Protocol
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from ninja import Field, Router, Schema
from ninja.security import django_auth_is_staff

from perfkit.api.events import ENDED, Places, Stream, StreamTimes, Told, event_id

MOST_STREAMS: Final = 50
EVENT_STREAM: Final = "text/event-stream"


class ProgressLike(Protocol):
    """How far a task is; where it has `eta_seconds` too, that is told as well."""

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
    eta_seconds: float | None = Field(None, description="How long the rest will take, where that is known.")


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
    read_status: Callable[[str], TaskStatusLike],
    *,
    auth: Any = django_auth_is_staff,
    most_streams: int = MOST_STREAMS,
    times: StreamTimes = StreamTimes(),  # noqa: B008  # it cannot be changed
) -> Router:
    """Return a router with `GET task-status/{id}`, and `GET task-status/{id}/events` for a stream of what changes.

    A result may hold anything, so by default only staff with a session may read it;
    the ids are random UUIDs, and anything else is a 422.
    The answers are marked `no-store`.

    The stream is server-sent events, for the browser's `EventSource`: an event `status` with the same JSON at
    first and after each change, and `end` when the task is done. It asks for the status once a second,
    see Note [Why the stream asks once a second]. A client that comes back with `Last-Event-ID` is not told again
    what it has seen, and gets a 204 where that was the end, so that an `EventSource` does not come back any more.
    A stream keeps no database connection. On a server of threads it keeps its thread; so a process has
    `most_streams` at once, and what is above that is a 503.

    Args:
        read_status: Reads the status of a task by its id, for example `perfkit.tasks.status.read_status`.
            An UnavailableError that it raises becomes a 503, see `perfkit.api.handlers`.
        auth: Any of ninja's authentications; it cannot be left out.
        most_streams: Streams that a process may have open; 0 for none.
        times: The times of a stream.

    Raises:
        ValueError: `auth` is None.
    """
    if auth is None:
        raise ValueError("The status of tasks is not for everybody: auth cannot be None.")
    router = Router(auth=auth, tags=["tasks"])
    places = Places(most_streams)

    @router.get(
        "task-status/{task_id}",
        response={200: TaskStatusOut, 401: ErrorOut, 503: ErrorOut},
        url_name="task-status",
    )
    def task_status(request: HttpRequest, response: HttpResponse, task_id: UUID) -> dict[str, Any]:
        """Return where a background task stands: its state, its progress, its result or error."""
        response["Cache-Control"] = "no-store"
        return _status_of(task_id, read_status(str(task_id)))

    @router.get(
        "task-status/{task_id}/events",
        response={401: ErrorOut, 503: ErrorOut},
        url_name="task-status-events",
        openapi_extra={
            "responses": {
                200: {
                    "description": "Events `status`, whose data is that of `task-status/{task_id}`, and `end`.",
                    "content": {EVENT_STREAM: {"schema": {"type": "string"}}},
                },
                204: {"description": "The task is done, and `Last-Event-ID` says that the client knows."},
            }
        },
    )
    def task_status_events(request: HttpRequest, task_id: UUID) -> HttpResponseBase:
        """Stream where a background task stands, until it is done."""

        def look() -> tuple[str, str]:
            status = read_status(str(task_id))
            told = TaskStatusOut.model_validate(_status_of(task_id, status))
            return status.state, json.dumps(told.model_dump(mode="json"))

        state, data = look()  # a store that is down is a 503, and no stream
        last_id = request.headers.get("Last-Event-ID", "")
        if state in ENDED and last_id == event_id(data):
            return HttpResponse(status=204, headers={"Cache-Control": "no-store"})
        if not places.take():
            refused = HttpResponse(
                json.dumps({"detail": "Too many streams are open."}),
                status=503,
                content_type="application/json",
            )
            refused["Retry-After"] = str(math.ceil(times.retry))
            return refused
        stream = Stream(look, Told(times, last_id, time.monotonic()), places)
        parts: Any = aiter(stream) if isinstance(request, ASGIRequest) else iter(stream)
        response = StreamingHttpResponse(
            parts,
            content_type=EVENT_STREAM,
            # nginx would gather the parts.
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        # A stream that never begins has no end.
        response._resource_closers.append(stream.close)  # type: ignore[attr-defined]  # noqa: SLF001
        return response

    return router


def _status_of(task_id: UUID, status: TaskStatusLike) -> dict[str, Any]:
    return {
        "id": task_id,
        "state": status.state,
        "progress": status.progress,
        "result": status.result,
        "error": status.error,
    }
