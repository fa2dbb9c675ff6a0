"""Work after the answer: the client does not wait for it, and it is not done for what has failed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.db import DEFAULT_DB_ALIAS, transaction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from perfkit.api.writing.workers import name_of, workers
from perfkit.making import own_of_a_run
from perfkit.tracing.origins import Origin, current, entered

logger = logging.getLogger("perfkit.api")

Handler = Callable[[HttpRequest], HttpResponseBase]
AsyncHandler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]
Work = Callable[[], Any]

FIRST_FAILURE: Final = 400
"""Of the statuses of HTTP."""


class Later:
    """What a request has left to be done after its answer, if that is a success."""

    def __init__(self) -> None:
        self.sendings: list[Work] = []
        self.works: list[Work] = []


_later: Final[ContextVar[Later | None]] = own_of_a_run(ContextVar("perfkit_after_response", default=None))


def after_response(work: Any, /, *args: Any, using: str = DEFAULT_DB_ALIAS, **kwargs: Any) -> None:
    """Do `work` after the answer: a task is sent to its queue, a function is called in a thread of this process.

    Nothing is done where the transaction that is open on `using` rolls back.
    In a request under `after_response_middleware` nothing is done either where its answer is an error, from 400
    on, save tasks whose transaction was committed before that; elsewhere the transaction alone decides.

    A task of Celery or of `django.tasks` is sent right after COMMIT. What the broker has taken survives this
    process; if it cannot be reached then, that is logged and the work is lost. Outside of a transaction the task
    is sent once the view has succeeded and before the answer is, and an error of the broker's is the request's.

    A function, plain or async, is called once the answer is sent, and at most once: at an orderly end the process
    waits for it, and a process that is killed takes it along. Its errors are logged.
    It runs in one of four threads, which begin the calls in their order, with database connections of its own that
    are closed after it. It gets neither the request nor its language or time zone: pass what it needs.
    Where a thousand wait already, the request's own thread does the work after its answer, so nothing is dropped.

    Args:
        work: The task, a signature of one, or the function.
        args, kwargs: What it is called with.
        using: The database whose transaction decides.

    Example:
        @api.post("/reports", response={201: ReportOut})
        def report(request, report: ReportIn):
            created = StatusReport.objects.create(**report.dict())
            after_response(log_activity, request.user.pk, "report")
            after_response(mail_report, created.pk)
            return 201, created
    """
    send = getattr(work, "delay", None) or getattr(work, "enqueue", None)
    if send is None:
        _when_committed(partial(_leave, partial(work, *args, **kwargs)), using=using)
    elif _is_in_transaction(using):
        # Not Django's `robust`: it cannot name a partial.
        transaction.on_commit(partial(_send_or_log, partial(send, *args, **kwargs)), using=using)
    else:
        _send(partial(send, *args, **kwargs))


@sync_and_async_middleware
def after_response_middleware(get_response: Handler | AsyncHandler) -> Handler | AsyncHandler:
    """Have `after_response` wait until the answer is sent, and drop what was left for one that is an error.

    Put it first in `MIDDLEWARE`, so that it sees the answer as the client does.
    """
    if iscoroutinefunction(get_response):
        handle_async = cast("AsyncHandler", get_response)

        async def followed_async(request: HttpRequest) -> HttpResponseBase:
            with _collected() as later:
                response = await handle_async(request)
                if response.status_code < FIRST_FAILURE:
                    for send in later.sendings:
                        await sync_to_async(send)()
                    _follow(response, later.works)
                return response

        return followed_async
    handle = cast("Handler", get_response)

    def followed(request: HttpRequest) -> HttpResponseBase:
        with _collected() as later:
            response = handle(request)
            if response.status_code < FIRST_FAILURE:
                for send in later.sendings:
                    send()
                _follow(response, later.works)
            return response

    return followed


@contextmanager
def _collected() -> Iterator[Later]:
    later = Later()
    token = _later.set(later)
    try:
        yield later
    finally:
        _later.reset(token)


def _follow(response: HttpResponseBase, works: list[Work]) -> None:
    """Have `works` begin when the server closes the response, which it does after the last byte."""
    if works:
        # Django calls these for whatever server it is; it has no public name for them.
        response._resource_closers.append(partial(_begin, works, current.get()))  # type: ignore[attr-defined]  # noqa: SLF001


def _begin(works: list[Work], origin: Origin | None) -> None:
    with entered(origin):
        for work in works:
            workers.take(work)


def _leave(work: Work) -> None:
    later = _later.get()
    if later is None:
        workers.take(work)
    else:
        later.works.append(work)


def _send(send: Work) -> None:
    later = _later.get()
    if later is None:
        send()
    else:
        later.sendings.append(send)


def _send_or_log(send: Work) -> None:
    """Send a task; an error comes after COMMIT, so it must not look as if that had failed."""
    try:
        send()
    except Exception:
        logger.exception("A task was not sent after its transaction was committed: %s", name_of(send))


def _when_committed(then: Work, *, using: str) -> None:
    if _is_in_transaction(using):
        transaction.on_commit(then, using=using)
    else:
        then()


def _is_in_transaction(using: str) -> bool:
    """Tell whether a transaction is open; a coroutine has none, and may not ask."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return bool(transaction.get_connection(using).in_atomic_block)
    return False
