"""The fields of limits on whatever an operation of ninja's answers, refusals and errors included."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, cast

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase

from perfkit.api.limiting.requests import notes_of, outage, with_fields
from perfkit.errors import LimiterUnavailableError

Run = Callable[..., HttpResponseBase]
AsyncRun = Callable[..., Awaitable[HttpResponseBase]]
Answer = Callable[[HttpRequest, LimiterUnavailableError], HttpResponseBase]


def _plain(request: HttpRequest, error: LimiterUnavailableError) -> HttpResponseBase:
    return outage()


def limited_run(run: Run | AsyncRun, *, answer: Answer = _plain) -> Run | AsyncRun:
    """Return what runs an operation, with the fields on its answers.

    Args:
        answer: Makes the answer where a throttle cannot ask the server; ninja lets such an error through.
    """
    if iscoroutinefunction(run):
        run_async = cast("AsyncRun", run)

        @wraps(run)
        async def limited_async(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            notes_of(request).is_in_ninja = True
            try:
                response = await run_async(request, *args, **kwargs)
            except LimiterUnavailableError as error:
                response = answer(request, error)
            return with_fields(response, request)

        return limited_async
    run_sync = cast("Run", run)

    @wraps(run)
    def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        notes_of(request).is_in_ninja = True
        try:
            response = run_sync(request, *args, **kwargs)
        except LimiterUnavailableError as error:
            response = answer(request, error)
        return with_fields(response, request)

    return limited
