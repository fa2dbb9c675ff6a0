"""HEAD for the operations of django-ninja, which has 405 for it: answered as GET is, without the body."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from perfkit.api.compiling.contracts import operations_of

Handler = Callable[[HttpRequest], HttpResponseBase]
AsyncHandler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

_TAKES_HEAD: Final = "_perfkit_takes_head"
_METHOD_NOT_ALLOWED: Final = 405
_WITHOUT_LENGTH: Final = frozenset({204, 304})


class HeadMiddleware:
    """Answers HEAD for each path of django-ninja that has a GET and no HEAD of its own.

    Its operation, and the middleware behind this one, see a GET, so that all headers are those of GET: the length,
    the entity tag, the coding, 304. Put it first in `MIDDLEWARE`.
    OpenAPI stays as it is, and other views are left alone.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Handler | AsyncHandler) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Return the answer, without its body where HEAD was asked for."""
        if self._is_async:
            return self._arespond(request)
        asked = request.method
        return _answered(request, asked, cast("Handler", self._get_response)(request))

    async def _arespond(self, request: HttpRequest) -> HttpResponseBase:
        asked = request.method
        return _answered(request, asked, await cast("AsyncHandler", self._get_response)(request))

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        """Have an operation of ninja's answer as it answers GET."""
        offered = operations_of(view)
        if "GET" in offered and "HEAD" not in offered:
            vars(request)[_TAKES_HEAD] = True
            if request.method == "HEAD":
                request.method = "GET"
        return None


def _answered(request: HttpRequest, asked: str | None, response: HttpResponseBase) -> HttpResponseBase:
    """Return what is sent; the request has its method back."""
    if _TAKES_HEAD not in vars(request):
        return response
    request.method = asked
    if response.status_code == _METHOD_NOT_ALLOWED and response.has_header("Allow"):
        allowed = [name.strip() for name in response.headers["Allow"].split(",")]
        response.headers["Allow"] = ", ".join(dict.fromkeys([*allowed, "HEAD"]))
    if asked == "HEAD":
        _drop_body(response)
    return response


def _drop_body(response: HttpResponseBase) -> None:
    """Leave a response its headers. What it holds is closed with it, as ever."""
    if isinstance(response, StreamingHttpResponse):
        response.streaming_content = _nothing() if response.is_async else ()
        return
    plain = cast("HttpResponse", response)
    if not plain.has_header("Content-Length") and plain.status_code not in _WITHOUT_LENGTH:
        plain.headers["Content-Length"] = str(len(plain.content))
    plain.content = b""


async def _nothing() -> AsyncIterator[bytes]:
    chunks: tuple[bytes, ...] = ()
    for chunk in chunks:
        yield chunk
