"""The response cache as a middleware: pages of all views whose addresses the settings name."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, Final, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, get_resolver

from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.responses.decorator import KEPT, view_name
from perfkit.caching.responses.keeping import PageOptions
from perfkit.caching.responses.views import PageCache
from perfkit.conf import options

Handler = Callable[[HttpRequest], HttpResponseBase]
AsyncHandler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class ResponseCacheMiddleware:
    """Keeps the pages of views, as `cache_response` does; put it last in `MIDDLEWARE`.

    There it is asked when all others have said who asks, in which language and time zone, and it keeps what the
    view has returned. Addresses are chosen by `CACHE_RESPONSES_ALLOW` and `CACHE_RESPONSES_DENY`; views that
    have `cache_response` keep their pages themselves, and those with `never_cache` none.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Handler | AsyncHandler) -> None:
        self._get_response = get_response
        self._caches: dict[str, PageCache] = {}
        self._lock = fork_safe_lock()
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Return the response: its kept page, or what the view returns."""
        if self._is_async:
            return self._arespond(request)
        handle = cast("Handler", self._get_response)
        match = self._match(request)
        if match is None:
            return handle(request)
        return self._cache(match).respond(request, match.kwargs, lambda: handle(request))

    async def _arespond(self, request: HttpRequest) -> HttpResponseBase:
        handle = cast("AsyncHandler", self._get_response)
        match = self._match(request)
        if match is None:
            return await handle(request)
        return await self._cache(match).arespond(request, match.kwargs, lambda: handle(request))

    @staticmethod
    def _match(request: HttpRequest) -> ResolverMatch | None:
        """Return the view that is asked and what its address has, None where its pages are none of ours."""
        if request.method not in {"GET", "HEAD"} or not options.CACHE_ENABLED:
            return None
        if not is_chosen(request.path_info, options.CACHE_RESPONSES_ALLOW, options.CACHE_RESPONSES_DENY):
            return None
        try:
            match = get_resolver(getattr(request, "urlconf", None)).resolve(request.path_info)
        except Http404:
            return None
        if hasattr(match.func, KEPT):
            return None
        request.resolver_match = match  # as Django does later; where a page is kept, it does not come to that
        return match

    def _cache(self, match: ResolverMatch) -> PageCache:
        name = view_name(match.func)
        cache = self._caches.get(name)
        if cache is None:
            with self._lock:
                cache = self._caches.setdefault(name, PageCache(name, PageOptions()))
        return cache


def is_chosen(path: str, allow: tuple[str, ...], deny: tuple[str, ...]) -> bool:
    """Say whether an address is one whose pages are kept.

    Args:
        allow: Regular expressions that paths begin with; all paths where there are none.
        deny: Those of paths that are left alone, whatever allows them.
    """
    if any(_pattern(text).match(path) for text in deny):
        return False
    return not allow or any(_pattern(text).match(path) for text in allow)


MOST_PATTERNS: Final = 100


@lru_cache(maxsize=MOST_PATTERNS)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)
