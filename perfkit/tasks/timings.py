"""Tells how long each task waited and ran: `task_ended`.

Whoever sends a task writes into a header when it may begin; the worker compares that with its own clock.
A run's end is seen by the process that runs it, and where that is killed, by the worker's main process.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from celery import Task, states
from celery.app.task import Context
from celery.exceptions import TimeLimitExceeded, WorkerLostError
from celery.signals import (
    before_task_publish,
    task_failure,
    task_postrun,
    task_prerun,
    task_received,
    task_revoked,
)

HEADER: Final = "perfkit_due"
"""When the task may begin, in seconds since 1970 on the clock of who sends it."""

OUTCOMES: Final = {
    states.SUCCESS: "success",
    states.IGNORED: "success",
    states.FAILURE: "failure",
    states.RETRY: "retry",
    states.REJECTED: "rejected",
}
_begun: Final[WeakKeyDictionary[Context, tuple[float, float]]] = WeakKeyDictionary()
"""By run, as in `perfkit.tasks.origins`: when it began, on the wall and on a clock that nobody sets."""

_received: Final[WeakValueDictionary[str, Any]] = WeakValueDictionary()
"""In the main process: the requests of tasks, for as long as Celery has them."""

_lost: Final[WeakSet[Any]] = WeakSet()
"""Requests of runs whose end was told in the main process: Celery may say so twice."""


def install() -> None:
    """Have every task of this process told of; calling it again changes nothing."""
    for signal, receiver in (
        (before_task_publish, _sent),
        (task_received, _came),
        (task_prerun, _began),
        (task_postrun, _ended),
        (task_failure, _was_lost),
        (task_revoked, _was_revoked),
    ):
        signal.connect(receiver, weak=False, dispatch_uid=f"perfkit.tasks.timings.{receiver.__name__}")


def waited_seconds(due: object, began: float) -> float | None:
    """Return how long a task waited, never less than 0, for clocks differ; None where nobody said.

    Example:
        >>> waited_seconds(100.0, 102.5), waited_seconds(100.0, 99.0), waited_seconds(None, 1.0)
        (2.5, 0.0, None)
    """
    if not isinstance(due, int | float) or isinstance(due, bool):
        return None
    return max(0.0, began - due)


def due_at(now: float, eta: object) -> float:
    """Return when a task that is sent now may begin.

    Args:
        now: Seconds since 1970.
        eta: As a message has it, in ISO 8601; what is none does not count.

    Example:
        >>> due_at(0.0, "1970-01-01T00:01:00+00:00"), due_at(0.0, None)
        (60.0, 0.0)
    """
    try:
        moment = datetime.fromisoformat(eta) if isinstance(eta, str) else None
    except ValueError:
        return now
    if moment is None:
        return now
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(now, moment.timestamp())


def _sent(*, headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None:
        headers[HEADER] = due_at(time.time(), headers.get("eta"))


def _came(*, request: Any, **_: Any) -> None:
    _received[request.id] = request


def _began(*, task: Task[..., Any], **_: Any) -> None:
    _begun[task.request] = (time.time(), time.perf_counter())


def _ended(*, task: Task[..., Any], state: str | None = None, **_: Any) -> None:
    request = task.request
    wall, start = _begun.pop(request, (0.0, 0.0))
    outcome = OUTCOMES.get(state or "")
    if not wall or outcome is None or request.is_eager or request.called_directly:
        return
    _tell(
        task,
        outcome,
        run_seconds=time.perf_counter() - start,
        wait_seconds=waited_seconds(request.get(HEADER), wall),
        retries=request.retries,
        delivery=request.delivery_info,
    )


def _was_lost(*, sender: Task[..., Any], task_id: str, exception: BaseException, **_: Any) -> None:
    """Tell of a run whose process was killed, by the hard time limit or otherwise."""
    if isinstance(exception, TimeLimitExceeded | WorkerLostError):
        _tell_of_request(sender, task_id, "failure")


def _was_revoked(*, sender: Task[..., Any], request: Any, **_: Any) -> None:
    if request.id in _received:
        _tell_of_request(sender, request.id, "revoked")
    else:  # Celery has looked at it before it said that it came
        told = {"run_seconds": 0.0, "wait_seconds": None, "retries": request.retries or 0}
        _tell(sender, "revoked", delivery=request.delivery_info, **told)


def _tell_of_request(task: Task[..., Any], task_id: str, outcome: str) -> None:
    request = _received.get(task_id)
    if request is None or request in _lost:
        return
    _lost.add(request)
    began, headers = request.time_start, request.request_dict
    _tell(
        task,
        outcome,
        run_seconds=0.0 if began is None else max(0.0, time.time() - began),
        wait_seconds=None if began is None else waited_seconds(headers.get(HEADER), began),
        retries=headers.get("retries") or 0,
        delivery=request.delivery_info,
    )


def _tell(task: Task[..., Any], outcome: str, *, delivery: Any, **told: Any) -> None:
    # A project calls `configure` before Django is up; now it is.
    from perfkit.jobs.declared import is_job
    from perfkit.signals import task_ended

    if not is_job(task.name):
        queue = _queue_of(task, delivery or {})
        task_ended.send_robust(sender=task.name, outcome=outcome, queue=queue, **told)


def _queue_of(task: Task[..., Any], delivery: dict[str, Any]) -> str:
    """Return the queue that a message came from: it says its exchange and its routing key only."""
    exchange, key = delivery.get("exchange") or "", delivery.get("routing_key") or ""
    for name, queue in task.app.amqp.queues.items():
        if queue.routing_key == key and exchange in {"", queue.exchange.name}:
            return str(name)
    return str(key)
