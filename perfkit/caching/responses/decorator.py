"""`cache_response`: a decorator for views whose pages are kept."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.signals import setting_changed
from django.http import HttpRequest
from django.utils.decorators import method_decorator
from django.utils.module_loading import import_string
from django.views import View

from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.responses.keeping import KeyParts, PageOptions
from perfkit.caching.responses.views import PageCache
from perfkit.caching.trust import warn_once

V = TypeVar("V", bound="Callable[..., Any] | type[View]")

KEPT: Final = "kept_pages"
"""An attribute of views that keep their pages by themselves: their `PageCache`."""


def cache_response(
    ttl: int | None = None,
    *,
    tags: Sequence[str] = (),
    key: KeyParts | None = None,
    vary_on: Sequence[str] = (),
    ignores: Sequence[str] = (),
    stale_ttl: int = 0,
    max_age: int | None = None,
    records: bool = True,
    version: object = "",
) -> Callable[[V], V]:
    """Keep the pages of a view, until something that they were made from is written.

    A request that starts after a commit has returned to its writer never gets an older page.
    Kept are answers to GET with status 200 that set no cookie and do not call themselves private, and that the
    view made without looking at who asks: at a cookie or a credential that was sent, at the session or the user,
    or at a CSRF token. What else it looked at of the request tells its pages apart.
    HEAD is answered from the page of GET.

    For function views, class-based views (above the class, or by `method_decorator`), async views, and operations
    of django-ninja (through its `decorate_view`).

    Args:
        ttl: Seconds a page lives; `PERFKIT["CACHE_RESPONSES_TTL"]` where left out, and never longer than the
            response itself says by `max-age`.
        tags: Names by which pages can be voided, with placeholders for what the address has: `"flight:{pk}"`.
        key: Returns a text, or several, by which pages are told apart besides; gets the request, and what the
            address has.
        vary_on: What else pages are told apart by: names of header fields, `"cookie:name"` for one cookie,
            `"Cookie"` for all, `"Authorization"`, and `"user"` for who is logged in.
        ignores: Header fields and keys of `request.META` that may be looked at and do not change the page.
        stale_ttl: Seconds for which others get the former page while one makes a new one, rather than wait.
            Within them the promise does not hold.
        max_age: Seconds for which browsers show the page without asking again; where left out they ask each time,
            and get 304 where it is the same. A copy that they have cannot be voided.
        records: Whether what the view reads becomes its tags; else only `tags` and `ttl` end its pages.
        version: Another one is another view: what was kept before is not shown.

    Raises:
        KeyTemplateError: A tag is no template.
        ValueError: A number of seconds is not a whole one, at least 1 (`max_age`, `stale_ttl`: 0).

    Queries:
        None on a hit (one round trip to the cache server), else those of the view.

    Example:
        @cache_response(ttl=TTL.SHORT, tags=["airport:{code}"])
        def airport(request, code):
            return render(request, "airport.html", {"airport": get_object_or_404(Airport, pk=code)})
    """
    options = PageOptions(
        ttl=ttl,
        tags=tuple(tags),
        key=key,
        vary_on=tuple(vary_on),
        ignores=tuple(ignores),
        stale_ttl=stale_ttl,
        max_age=max_age,
        records=records,
        version=str(version),
    ).checked()
    return _Decorator(options)


class _Decorator:
    """Decorates views with one set of options; `method_decorator` does that anew for each request."""

    def __init__(self, options: PageOptions) -> None:
        self.__name__ = "cache_response"
        self._options = options
        self._caches: dict[str, PageCache] = {}
        self._lock = fork_safe_lock()

    def __call__(self, view: Any) -> Any:
        if isinstance(view, type):
            return method_decorator(self, name="dispatch")(view)
        name = view_name(view)
        cache = self._caches.get(name)
        if cache is None:
            with self._lock:
                cache = self._caches.setdefault(name, PageCache(name, self._options))
        return _kept_async(view, cache) if _is_async(view) else _kept(view, cache)


def _kept(view: Callable[..., Any], cache: PageCache) -> Callable[..., Any]:
    @functools.wraps(view)
    def kept(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        _require_request(request)
        if _has_template_middleware():
            return view(request, *args, **kwargs)
        return cache.respond(request, kwargs, functools.partial(view, request, *args, **kwargs))

    setattr(kept, KEPT, cache)
    return kept


def _kept_async(view: Callable[..., Any], cache: PageCache) -> Callable[..., Any]:
    @functools.wraps(view)
    async def kept(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        _require_request(request)
        if _has_template_middleware():
            return await view(request, *args, **kwargs)
        return await cache.arespond(request, kwargs, functools.partial(view, request, *args, **kwargs))

    setattr(kept, KEPT, cache)
    return kept


def view_name(view: Any) -> str:
    """Return the dotted name of a view: of its class, of django-ninja's function, or its own."""
    while not (hasattr(view, "__self__") or hasattr(view, "view_class")):
        within = view.func if isinstance(view, functools.partial) else getattr(view, "__wrapped__", None)
        if within is None:
            break
        view = within
    owner = getattr(view, "__self__", None)
    if isinstance(owner, View):
        view = type(owner)
    elif owner is not None:
        view = getattr(owner, "view_func", view)  # an operation of django-ninja
    view = getattr(view, "view_class", view)
    return f"{getattr(view, '__module__', '')}.{getattr(view, '__qualname__', type(view).__qualname__)}"


def _is_async(view: Any) -> bool:
    if iscoroutinefunction(view):
        return True
    while isinstance(view, functools.partial):
        view = view.func
    return bool(getattr(getattr(view, "__self__", None), "view_is_async", False))


def _require_request(request: Any) -> None:
    if not hasattr(request, "META"):
        raise TypeError(
            "cache_response did not get a request. Decorate a method of a class-based view by "
            "@method_decorator, or the class itself."
        )


_template_middleware: list[bool] = []

_HARMLESS: Final = frozenset({"django_prometheus.middleware.PrometheusAfterMiddleware"})
"""Those that only count which templates are used."""


def _has_template_middleware() -> bool:
    """Say whether a middleware changes responses between the view and their rendering, which is not seen."""
    if not _template_middleware:
        classes = [import_string(path) for path in settings.MIDDLEWARE if path not in _HARMLESS]
        _template_middleware.append(any(hasattr(each, "process_template_response") for each in classes))
        if _template_middleware[0]:
            warn_once(
                "a middleware has process_template_response, so @cache_response keeps nothing; "
                "use ResponseCacheMiddleware."
            )
    return _template_middleware[0]


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "MIDDLEWARE":
        _template_middleware.clear()


setting_changed.connect(_forget, dispatch_uid="perfkit.caching.responses.decorator")
