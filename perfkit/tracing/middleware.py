"""Gives each request an id, and its answer too.

# Note [How long a request has its id]
The id belongs to the context of the request, and leaves it with the answer, so that a thread which waits for its
next request has none. Two things come later. The pieces of a streamed answer are made while they are sent: each is
made under the id again. And Django logs an answer with an error after the last middleware: that line's record has
the request, which keeps its id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import lru_cache
from typing import Any, cast

from asgiref.sync import iscoroutinefunction
from django.http import FileResponse, HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils.decorators import sync_and_async_middleware

from perfkit.conf import options
from perfkit.tracing.ids import new_request_id, valid_request_id, valid_traceparent
from perfkit.tracing.origins import Origin, current

Handler = Callable[[HttpRequest], HttpResponseBase]
AsyncHandler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def request_id_middleware(get_response: Handler | AsyncHandler) -> Handler | AsyncHandler:
    """Have each request carry an id: that of its header field, if it is valid, else a new one.

    Put it first in `MIDDLEWARE`. The answer has the id in the same field, `request.request_id` and `request_id()`
    return it; and whatever else reads the field of the request finds it there, too.
    With `REQUEST_ID_ACCEPT` off nothing of what a client sends is taken, neither an id nor a `traceparent`.
    """
    if iscoroutinefunction(get_response):
        aget_response = cast("AsyncHandler", get_response)

        async def amiddleware(request: HttpRequest) -> HttpResponseBase:
            origin = _origin_of(request)
            token = current.set(origin)
            try:
                response = await aget_response(request)
            finally:
                current.reset(token)
            return _answered(response, origin)

        return amiddleware

    get_now = cast("Handler", get_response)

    def middleware(request: HttpRequest) -> HttpResponseBase:
        origin = _origin_of(request)
        token = current.set(origin)
        try:
            response = get_now(request)
        finally:
            current.reset(token)
        return _answered(response, origin)

    return middleware


@lru_cache(maxsize=16)
def _key_of(header: str) -> str:
    """Return the key of a header field in `META`."""
    return f"HTTP_{header.upper().replace('-', '_')}"


def _origin_of(request: HttpRequest) -> Origin:
    meta = request.META
    key = _key_of(options.REQUEST_ID_HEADER)
    given = traceparent = ""
    if options.REQUEST_ID_ACCEPT:
        given, traceparent = valid_request_id(meta.get(key)), valid_traceparent(meta.get("HTTP_TRACEPARENT"))
    known_by = meta[key] = vars(request)["request_id"] = given or new_request_id()
    return Origin(known_by, traceparent=traceparent, request=request)


def _answered(response: HttpResponseBase, origin: Origin) -> HttpResponseBase:
    response.headers[options.REQUEST_ID_HEADER] = origin.request_id
    # The pieces of a file are made by nobody, and servers send it past Python.
    if isinstance(response, StreamingHttpResponse) and not isinstance(response, FileResponse):
        _stream(response, origin)
    return response


def _stream(response: StreamingHttpResponse, origin: Origin) -> None:
    pieces: Any = response.streaming_content
    response.streaming_content = (_apieces if response.is_async else _pieces)(pieces, origin)


def _pieces(pieces: Iterator[bytes], origin: Origin) -> Iterator[bytes]:
    while True:
        token = current.set(origin)
        try:
            piece = next(pieces)
        except StopIteration:
            return
        finally:
            current.reset(token)
        yield piece


async def _apieces(pieces: AsyncIterator[bytes], origin: Origin) -> AsyncIterator[bytes]:
    try:
        while True:
            token = current.set(origin)
            try:
                piece = await anext(pieces)
            except StopAsyncIteration:
                return
            finally:
                current.reset(token)
            yield piece
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()
