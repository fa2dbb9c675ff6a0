"""Which requests are answered from kept pages, and which responses are kept. Pure: RFC 9110, RFC 9111.

What a request says in `Cache-Control` is not heeded: anybody could have the page made anew each time, and it is
never older than what was committed anyway.
"""

from __future__ import annotations

import time
from typing import Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.http import parse_http_date_safe

from perfkit.caching.responses.fields import directives, names, seconds_of

OK: Final = 200
_UTF_8: Final = frozenset({"utf-8", "utf8"})


def why_not_asked(request: HttpRequest) -> str:
    """Say why a request is not answered from kept pages, empty where it may be."""
    if request.method not in {"GET", "HEAD"}:
        return "method"
    meta = request.META
    if meta.get("CONTENT_LENGTH") not in {None, "", "0"} or "HTTP_TRANSFER_ENCODING" in meta:
        return "request with a body"
    encoding = request.encoding
    if encoding is not None and encoding.lower() not in _UTF_8:
        return "encoding of the request"
    return ""


def why_not_kept(response: HttpResponseBase, *, now: float | None = None) -> str:
    """Say why a response is not kept by what it says itself, empty where it may be."""
    if response.streaming:
        return "streaming"
    if response.status_code != OK:
        return "status"
    if response.cookies or response.has_header("Set-Cookie"):
        return "sets a cookie"
    return _why_not_by_headers(response, now=now)


def _why_not_by_headers(response: HttpResponseBase, *, now: float | None) -> str:
    said = directives(response.get("Cache-Control", ""))
    refused = [f"says {name}" for name in ("private", "no-store", "no-cache") if name in said]
    if "*" in names(response.get("Vary", "")):
        refused.append("varies on everything")
    if said_seconds(response, now=now) == 0:
        refused.append("says it is stale")
    if response.has_header("Content-Range") or response.reason_phrase != "OK":
        refused.append("no plain 200")
    return refused[0] if refused else ""


def said_seconds(response: HttpResponseBase, *, now: float | None = None) -> int | None:
    """Return how long a response says that it may be kept, None where it does not say."""
    said = directives(response.get("Cache-Control", ""))
    for name in ("s-maxage", "max-age"):
        if name in said:
            return seconds_of(said[name]) or 0
    if response.has_header("Expires"):
        until = parse_http_date_safe(response["Expires"])
        return 0 if until is None else max(0, int(until - (time.time() if now is None else now)))
    return None
