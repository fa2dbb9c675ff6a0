"""A task has the id of who has sent it, in its logs, its SQL and what it sends itself.

Whoever sends a task writes the id and the span into headers.
A task that nobody with an id has sent, such as one of a beat, has its own.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Any, Final
from weakref import WeakKeyDictionary

from celery.app.task import Context
from celery.signals import (
    after_setup_logger,
    after_setup_task_logger,
    before_task_publish,
    task_postrun,
    task_prerun,
)

from perfkit.modules import loaded
from perfkit.tracing.ids import new_request_id, valid_request_id, valid_traceparent
from perfkit.tracing.logs import RequestIdFilter
from perfkit.tracing.origins import Origin, current, entered, request_id
from perfkit.tracing.spans import TRACEPARENT, attached, current_traceparent

HEADER: Final = "perfkit_request_id"

_INSTRUMENTATION: Final = "opentelemetry.instrumentation.celery"

_open: Final[WeakKeyDictionary[Context, ExitStack]] = WeakKeyDictionary()
"""By run: what ends with it. One that is tried again has the id of the run before, and that may go on yet."""


def install() -> None:
    """Have every task of this process carry an id; calling it again changes nothing."""
    for signal, receiver in (
        (before_task_publish, _sent),
        (task_prerun, _begin),
        (task_postrun, _end),
        (after_setup_logger, _log),
        (after_setup_task_logger, _log),
    ):
        signal.connect(receiver, weak=False, dispatch_uid=f"perfkit.tasks.origins.{receiver.__name__}")


def _sent(*, headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is None:
        return
    if known_by := request_id():
        headers[HEADER] = known_by
    if not _is_instrumented() and (span := current_traceparent()):
        headers[TRACEPARENT] = span


def _begin(*, task_id: str, task: Any, **_: Any) -> None:
    request = task.request
    own = current.get()
    # One that runs at once, where it is sent, is a part of that.
    known_by = valid_request_id(request.get(HEADER)) or (request_id() if own and request.is_eager else "")
    known_by = known_by or valid_request_id(task_id) or new_request_id()
    sent_by = valid_traceparent(request.get(TRACEPARENT))
    stack = _open[request] = ExitStack()
    stack.enter_context(entered(Origin(known_by, traceparent=sent_by, task=task.name)))
    if not _is_instrumented():
        stack.enter_context(attached({TRACEPARENT: sent_by}))


def _end(*, task: Any, **_: Any) -> None:
    stack = _open.pop(task.request, None)
    if stack is not None:
        stack.close()


def _log(*, logger: logging.Logger, **_: Any) -> None:
    """Put the id onto the records of Celery's own handlers, for `worker_log_format`."""
    for handler in logger.handlers:
        if not any(isinstance(each, RequestIdFilter) for each in handler.filters):
            handler.addFilter(RequestIdFilter())


def _is_instrumented() -> bool:
    """Say whether OpenTelemetry's own instrumentation of Celery carries spans along."""
    module = loaded(_INSTRUMENTATION)
    return module is not None and bool(module.CeleryInstrumentor().is_instrumented_by_opentelemetry)
