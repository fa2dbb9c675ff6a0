"""The limit of one view: `@rate_limit("5/hour")`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import wraps
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from ninja.decorators import decorate_view
from ninja.errors import HttpError, Throttled

from perfkit.api.limiting.identity import By
from perfkit.api.limiting.operations import limited_run
from perfkit.api.limiting.requests import (
    Cost,
    RequestLimit,
    notes_of,
    outage,
    refusal,
    with_fields,
)
from perfkit.errors import LimiterUnavailableError, UsageError
from perfkit.limiting.limiter import Verdict
from perfkit.postgres.outages import UNAVAILABLE
from perfkit.rates import Rate

View = TypeVar("View", bound=Callable[..., Any])


def rate_limit(
    *rates: str | Rate,
    by: By = "user",
    cost: Cost = 1,
    methods: Collection[str] | None = None,
    scope: str = "",
) -> Callable[[View], View]:
    """Limit a view of Django's or an operation of ninja's, sync or async.

    A request beyond the limit is not passed on: a 429 with Retry-After, in ninja's form where it is ninja's.
    Each answer tells in `RateLimit` and its like what is left.
    On an operation of ninja's it stands below the route; on the methods of a class, in `method_decorator`.

    Args:
        rates: `"5/hour"`, `"100/minute"`, `"10/30s"`, `"100/minute burst 20"`; of several all hold.
        by: `"user"` (whom the view or the session has authenticated), `"key"` (whom the view has), `"address"`,
            or `"everyone"` together; who is not known counts by address. Or a function of the request that returns
            a name, or None for one that is not limited.
        cost: As how many requests one counts, or a function of the request that returns it.
        methods: Those that count; all where None.
        scope: Views with the same scope and rates share their counts; each has its own where it is empty.

    Raises:
        RateError: One of the rates is none.
        UsageError: There are no rates, `by` is nothing that clients can be told apart by, or the view cannot be
            limited so.

    Queries: one round trip to the cache server for each request; `"user"` may read the session and the user.

    Example:
        >>> from django.http import HttpResponse
        >>> @rate_limit("5/hour", by="address", methods=["POST"])
        ... def login(request):
        ...     return HttpResponse("Welcome.")
    """
    if not rates:
        raise UsageError("rate_limit() needs at least one rate.")

    def decorate(view: View) -> View:
        if inspect.isasyncgenfunction(view):
            raise UsageError("An async generator cannot be limited by rate_limit(): use RateLimitThrottle.")
        if hasattr(view, "_ninja_operation"):
            raise UsageError("rate_limit() stands below the route of an operation, not above it.")
        name = scope or f"{view.__module__}.{view.__qualname__}"
        limited = _limited(view, RequestLimit(*rates, scope=name, by=by, cost=cost, methods=methods))
        with suppress(NameError):  # a view of Django's may name what only type checkers know
            # ninja would look for annotations written as text in this module, not in the view's.
            limited.__signature__ = inspect.signature(view, eval_str=True)  # type: ignore[attr-defined]
        return decorate_view(limited_run)(limited)  # of no consequence unless ninja gets to see the view

    return decorate


def _limited(view: View, limit: RequestLimit) -> View:
    if iscoroutinefunction(view):

        @wraps(view)
        async def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            try:
                verdict = await limit.acheck(request)
            except LimiterUnavailableError as error:
                return _unavailable(request, error)
            return _refused(request, verdict) or _told(await view(request, *args, **kwargs), request)

    else:

        @wraps(view)
        def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            try:
                verdict = limit.check(request)
            except LimiterUnavailableError as error:
                return _unavailable(request, error)
            return _refused(request, verdict) or _told(view(request, *args, **kwargs), request)

    return limited  # type: ignore[return-value]


def _told(answer: Any, request: HttpRequest) -> Any:
    """Put the fields on what a view of Django's has returned; an operation of ninja's gets them at its end."""
    is_answer = isinstance(answer, HttpResponseBase) and not notes_of(request).is_in_ninja
    return with_fields(answer, request) if is_answer else answer


def _refused(request: HttpRequest, verdict: Verdict | None) -> HttpResponseBase | None:
    """Return the answer to a request that may not go on, None where it may."""
    if verdict is None or verdict.is_admitted:
        return None
    notes = notes_of(request)
    if notes.is_in_ninja:
        raise Throttled(wait=notes.retry_after_seconds)
    return with_fields(refusal(), request)


def _unavailable(request: HttpRequest, error: LimiterUnavailableError) -> HttpResponseBase:
    if notes_of(request).is_in_ninja:
        raise HttpError(503, UNAVAILABLE) from error
    return with_fields(outage(), request)
