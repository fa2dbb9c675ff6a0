"""The guard as a middleware: each request is watched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final, cast
from urllib.parse import quote

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from perfkit.conf import options
from perfkit.loading.guard.scope import tell, watch_n_plus_one, watching
from perfkit.loading.guard.watch import LANDMARKS, Watch

Handler = Callable[[HttpRequest], HttpResponseBase]
AsyncHandler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

HEADER: Final = "X-N-Plus-One"
MOST_TOLD: Final = 5
"""Findings that the header names; the log has all."""


@sync_and_async_middleware
def n_plus_one_guard(get_response: Handler | AsyncHandler) -> Handler | AsyncHandler:
    """Look for loops of queries in each request, by `PERFKIT["N_PLUS_ONE_MODE"]`.

    Put it before the middleware whose queries are to be watched too.
    In the mode `"header"` the answer tells in `X-N-Plus-One` how many loops there were, and the first of them:
    a header shows names of the project's files to everybody, and is for development.
    What a streaming response sends is watched as well; it can no longer be told in a header.
    """
    if iscoroutinefunction(get_response):
        handle_async = cast("AsyncHandler", get_response)

        async def guarded_async(request: HttpRequest) -> HttpResponseBase:
            with watch_n_plus_one() as watch:
                return _told(await handle_async(request), watch)

        LANDMARKS.add_end(guarded_async.__code__)
        return guarded_async
    handle = cast("Handler", get_response)

    def guarded(request: HttpRequest) -> HttpResponseBase:
        with watch_n_plus_one() as watch:
            return _told(handle(request), watch)

    LANDMARKS.add_end(guarded.__code__)
    return guarded


def _told(response: HttpResponseBase, watch: Watch | None) -> HttpResponseBase:
    if watch is None:
        return response
    findings = watch.findings
    if findings and options.N_PLUS_ONE_MODE == "header":
        short = "; ".join(finding.short for finding in findings[:MOST_TOLD])
        response[HEADER] = f"{len(findings)}; {quote(short, safe=' /:;.,_-()=+')}"
    streaming: Any = response
    # A file may be sent by the server itself, as long as nobody touches it.
    if response.streaming and getattr(response, "file_to_stream", None) is None:
        later = Watch(threshold=watch.threshold, raises=watch.raises)
        follow = _followed_async if streaming.is_async else _followed
        streaming.streaming_content = follow(streaming.streaming_content, later)
    return response


def _followed(parts: Iterator[bytes], watch: Watch) -> Iterator[bytes]:
    """Yield what a streaming response sends, each part made under the watch."""
    try:
        while True:
            with watching(watch):
                part = next(parts, None)
            if part is None:
                return
            yield part
    finally:
        tell(watch.findings)


async def _followed_async(parts: AsyncIterator[bytes], watch: Watch) -> AsyncIterator[bytes]:
    try:
        while True:
            with watching(watch):
                part = await anext(parts, None)
            if part is None:
                return
            yield part
    finally:
        tell(watch.findings)
