"""The scope of cached reads as a middleware: for ASGI, whose signals cannot reach what handles the request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from perfkit.caching.scope import token_scope

Handler = Callable[[HttpRequest], HttpResponseBase]
AsyncHandler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def request_scope(get_response: Handler | AsyncHandler) -> Handler | AsyncHandler:
    """Let each request be a scope of cached reads, see `token_scope`.

    Under WSGI every request is one without this; put it first in `MIDDLEWARE` where Django runs under ASGI.
    """
    if iscoroutinefunction(get_response):
        handle_async = cast("AsyncHandler", get_response)

        async def scoped_async(request: HttpRequest) -> HttpResponseBase:
            with token_scope():
                return await handle_async(request)

        return scoped_async
    handle = cast("Handler", get_response)

    def scoped(request: HttpRequest) -> HttpResponseBase:
        with token_scope():
            return handle(request)

    return scoped
