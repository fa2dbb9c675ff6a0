"""`Server-Timing`: what a request took, told to whoever may know.

# Note [Who is known to be staff]
Nobody is loaded for this: that would be a query more, and `Vary: Cookie` on an answer that does not vary.
Whoever the request has found out about by itself is known afterwards: Django keeps the user that was loaded, and
ninja the one whom its authentication has returned.
So staff get the field where the view, a middleware or a template has asked who they are.
"""

from __future__ import annotations

import re
from typing import Any, Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import LazyObject, empty

from perfkit.conf import options
from perfkit.monitoring.work import Work

HEADER: Final = "Server-Timing"
LONGEST_NAME: Final = 40
LONGEST_FIELD: Final = 1_500
"""Proxies refuse answers whose headers are long, often from 4,000 bytes on."""

_NO_TOKEN: Final = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
_LOADED: Final = ("user", "_cached_user", "_acached_user", "auth")
"""Where a request keeps who was found out about."""


def tell_timing(request: HttpRequest, response: HttpResponseBase, done: Work, *, seconds: float) -> None:
    """Put the field onto an answer, where `SERVER_TIMING` says so; what others have put there stays.

    An answer that caches may give to others gets none, unless all are told anyway.

    Queries: none. See Note [Who is known to be staff].
    """
    whom = options.SERVER_TIMING
    if whom == "off":
        return
    if whom == "staff" and (not is_known_staff(request) or _is_shared(response)):
        return
    text = timing_text(done, seconds=seconds)
    before = response.headers.get(HEADER)
    response.headers[HEADER] = f"{before}, {text}" if before else text


def timing_text(done: Work, *, seconds: float) -> str:
    """Return the value of the field: the total, the database's part, and what `timed` measured.

    Example:
        >>> done = Work()
        >>> done.queries, done.database_nanoseconds, done.timings["price quote"] = 1, 2_100_000, 0.0107
        >>> timing_text(done, seconds=0.0312)
        'total;dur=31.2, db;dur=2.1;desc="1 query", price_quote;dur=10.7'

    Source: W3C, "Server Timing"; its names are tokens of RFC 9110, section 5.6.2.
    """
    queries = "1 query" if done.queries == 1 else f"{done.queries} queries"
    text = f'total;dur={seconds * 1000:.1f}, db;dur={done.database_seconds * 1000:.1f};desc="{queries}"'
    for name, each in done.timings.copy().items():
        part = f", {token(name)};dur={each * 1000:.1f}"
        if len(text) + len(part) > LONGEST_FIELD:
            break
        text += part
    return text


def token(name: str) -> str:
    """Return a name as a token: what is none of its characters becomes `_`.

    Example:
        >>> token('a "b"; c'), token("")
        ('a__b___c', '_')
    """
    return _NO_TOKEN.sub("_", name[:LONGEST_NAME]) or "_"


def is_known_staff(request: HttpRequest) -> bool:
    """Say whether the request has found out that staff ask; see Note [Who is known to be staff]."""
    known = vars(request)
    return any(_is_staff(known.get(name)) for name in _LOADED)


def _is_staff(user: Any) -> bool:
    while isinstance(user, LazyObject):
        user = vars(user).get("_wrapped", empty)
        if user is empty:
            return False
    return getattr(user, "is_staff", False) is True and getattr(user, "is_active", False) is True


def _is_shared(response: HttpResponseBase) -> bool:
    said = response.headers.get("Cache-Control", "").lower()
    return "public" in said or "s-maxage" in said
