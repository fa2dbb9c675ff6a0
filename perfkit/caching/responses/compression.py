"""Compression of answers that are not kept: zstd, brotli or gzip, whichever a client takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import parse_etags

from perfkit.caching.responses.encodings import CODERS, IDENTITY, chosen_coding, coded
from perfkit.caching.responses.fields import with_names
from perfkit.caching.responses.pages import is_compressed, padding

Handler = Callable[[HttpRequest], HttpResponseBase]
AsyncHandler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

IN_THREAD_FROM_BYTES: Final = 64 * 1024
"""Of a body: one that is as large would hold up the event loop."""

_NOT_MODIFIED: Final = 304
_VARIES: Final = "Accept-Encoding"


class CompressionMiddleware:
    """Compresses answers in the coding that the client likes best; put it where Django's `GZipMiddleware` stands.

    What streams, is compressed already, is no text, is small, or says `no-transform` is left alone, and so are
    pages that `cache_response` keeps, which have their compressed bodies ready. An entity tag becomes weak.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Handler | AsyncHandler) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Return the answer, compressed where it may be."""
        if self._is_async:
            return self._arespond(request)
        response = cast("Handler", self._get_response)(request)
        coding = _coding(request, response)
        if coding != IDENTITY:
            plain = cast("HttpResponse", response)
            _put(plain, _made(plain.content, coding), coding)
        return response

    async def _arespond(self, request: HttpRequest) -> HttpResponseBase:
        response = await cast("AsyncHandler", self._get_response)(request)
        coding = _coding(request, response)
        if coding != IDENTITY:
            plain = cast("HttpResponse", response)
            body = plain.content
            if len(body) < IN_THREAD_FROM_BYTES:
                made = _made(body, coding)
            else:
                made = await asyncio.to_thread(_made, body, coding)
            _put(plain, made, coding)
        return response


def _coding(request: HttpRequest, response: HttpResponseBase) -> str:
    """Return in which coding a response is sent, and have it say what that depends on."""
    if response.streaming or getattr(response, "perfkit_page", False):
        return IDENTITY
    if response.status_code == _NOT_MODIFIED:
        _say_varies(response)  # as the answer with the body has it, whose type and size nobody knows here
        _weaken_as_sent(response, request.META.get("HTTP_IF_NONE_MATCH", ""))
        return IDENTITY
    plain = cast("HttpResponse", response)
    if not is_compressed(plain, size_bytes=len(plain.content)):
        return IDENTITY
    _say_varies(response)
    return chosen_coding(request.META.get("HTTP_ACCEPT_ENCODING", ""), CODERS)


def _made(body: bytes, coding: str) -> bytes | None:
    return coded(body, coding, pad=padding)


def _put(response: HttpResponse, made: bytes | None, coding: str) -> None:
    if made is None:
        return
    response.content = made
    response.headers["Content-Encoding"] = coding
    response.headers["Content-Length"] = str(len(made))
    etag = response.get("ETag", "")
    if etag.startswith('"'):
        response.headers["ETag"] = f"W/{etag}"


def _say_varies(response: HttpResponseBase) -> None:
    response.headers["Vary"] = with_names(response.get("Vary", ""), [_VARIES])


def _weaken_as_sent(response: HttpResponseBase, sent: str) -> None:
    """Give a 304 the entity tag that the answer with the body had, where the client has sent that one."""
    etag = response.get("ETag", "")
    if etag.startswith('"') and f"W/{etag}" in parse_etags(sent):
        response.headers["ETag"] = f"W/{etag}"
