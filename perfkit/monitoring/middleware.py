"""Measures each request."""

from __future__ import annotations

import logging
import os
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from itertools import count
from time import perf_counter
from typing import Final, cast

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from perfkit.monitoring.installing import begin
from perfkit.monitoring.recording import recorder, switch
from perfkit.monitoring.series import Series
from perfkit.monitoring.server_timing import tell_timing
from perfkit.monitoring.work import Work, work

logger: Final = logging.getLogger("perfkit.monitoring")

Handler = Callable[[HttpRequest], HttpResponseBase]
AsyncHandler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

MICROSECONDS: Final = 1_000_000
SERVER_ERROR: Final = 500
CLIENT_GONE: Final = 499
"""What nginx calls it; Django answers nothing then."""

_series: Final[dict[tuple[str, str, int], int]] = {}


class Active:
    """How many requests this process is busy with."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Know of none: those of the parent are not this process's."""
        self.begun, self.ended = count(), count()

    def number(self) -> int:
        """Return how many there are at the moment."""
        # Each look takes one number of both.
        ended = next(self.ended)
        return max(0, next(self.begun) - ended)


active: Final = Active()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=active.begin_anew)


@sync_and_async_middleware
def metrics(get_response: Handler | AsyncHandler) -> Handler | AsyncHandler:
    """Measure each request: how long it took until its answer began, and what it asked of the database.

    Put it first, so that it measures what the others do as well; standing there twice, it measures once.
    Requests are told apart by method, by the pattern of the address (not the address), and by the class of the
    status. One whose client has gone away counts as a 4xx, as with nginx.
    What a streamed answer does after it has begun is no longer part of the request.
    Staff are told in `Server-Timing`, see `SERVER_TIMING`.
    """
    begin()
    if iscoroutinefunction(get_response):
        handle_async = cast("AsyncHandler", get_response)

        async def measured_async(request: HttpRequest) -> HttpResponseBase:
            if not switch.is_on or work.get() is not None:  # it stands there twice
                return await handle_async(request)
            begun = _Begun(request)
            try:
                return begun.answered(await handle_async(request))
            except CancelledError:
                begun.status = CLIENT_GONE
                raise
            finally:
                begun.end()

        return measured_async
    handle = cast("Handler", get_response)

    def measured(request: HttpRequest) -> HttpResponseBase:
        if not switch.is_on or work.get() is not None:
            return handle(request)
        begun = _Begun(request)
        try:
            return begun.answered(handle(request))
        finally:
            begun.end()

    return measured


class _Begun:
    """A request that is being answered."""

    def __init__(self, request: HttpRequest) -> None:
        self.status = SERVER_ERROR
        self._request = request
        self._done = Work(request=request)
        self._token = work.set(self._done)
        next(active.begun)
        self._begun = perf_counter()

    def answered(self, response: HttpResponseBase) -> HttpResponseBase:
        """Note the answer, and return it with what is told of it."""
        self.status = response.status_code
        try:
            tell_timing(self._request, response, self._done, seconds=perf_counter() - self._begun)
        except Exception:  # what is measured never fails what it measures
            logger.exception("Server-Timing could not be told.")
        return response

    def end(self) -> None:
        """Record the request, whatever came of it."""
        seconds = perf_counter() - self._begun
        work.reset(self._token)
        self._done.end()
        next(active.ended)
        try:
            done = self._done
            recorder.record(
                _series_of(done, self.status),
                int(seconds * MICROSECONDS),
                done.database_nanoseconds // 1000,
                done.queries,
            )
        except Exception:  # what is measured never fails what it measures
            logger.exception("A request could not be measured.")


def _series_of(done: Work, status: int) -> int:
    key = (done.method, done.name, status // 100)
    known = _series.get(key)
    if known is None:
        known = _series[key] = recorder.series("request", key[0], key[1], f"{status // 100}xx")
    return known


def _forget(series: Series, number: int) -> None:
    """Forget a series that was not used for a day."""
    if series.kind == "request":
        for key in [key for key, known in _series.copy().items() if known == number]:
            _series.pop(key, None)


recorder.at_retirement.append(_forget)
