"""A view whose pages are kept: from the request to the kept page, or through the view and back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, cast

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from perfkit.caching.flights import durations
from perfkit.caching.named.answers import aanswer, answer
from perfkit.caching.named.held import MISSING
from perfkit.caching.named.invalidation import void_with_transaction
from perfkit.caching.named.names import namespace_tag
from perfkit.caching.named.reads import NamedRead
from perfkit.caching.named.standing import current_standing
from perfkit.caching.responses.keeping import Keeping, PageOptions, Request
from perfkit.caching.responses.learnt import learn, learnt_of
from perfkit.caching.responses.pages import Made, Signpost, shown, shown_first
from perfkit.caching.responses.rules import why_not_asked
from perfkit.caching.responses.variations import Variations
from perfkit.caching.telling import tell_read
from perfkit.caching.values import UnstorableError
from perfkit.conf import options

MOST_SIGNPOSTS: Final = 3
"""That are followed for one request."""

Ask = Callable[[], HttpResponseBase]
AsyncAsk = Callable[[], Awaitable[HttpResponseBase]]


class PageCache:
    """The kept pages of one view.

    Attributes:
        name: Dotted; what statistics and keys call it.
    """

    def __init__(self, name: str, page_options: PageOptions) -> None:
        self.name = name
        self._keeping = Keeping(name, page_options, sender=self)

    def respond(self, request: HttpRequest, kwargs: Mapping[str, Any], ask: Ask) -> HttpResponseBase:
        """Return the response to a request: its kept page, or what `ask` returns.

        Queries:
            None on a hit (one round trip to the cache server), else those of the view.
        """
        asked = self._asked(request, kwargs)
        if asked is None:
            return ask()
        known = self._known(asked)
        for _ in range(MOST_SIGNPOSTS):
            named = self._keeping.named(asked, known)
            if request.method == "HEAD":
                found = _glanced(self._keeping, asked, known)
            else:
                make = self._maker(asked, known, ask)
                found = answer(self._keeping.recipe, named, make, current_standing())
            if not isinstance(found, Signpost):
                return ask() if found is MISSING else self._response(asked, found)
            known |= set(found.variations)
            learn(asked.path, known)
        return ask()

    async def arespond(
        self, request: HttpRequest, kwargs: Mapping[str, Any], ask: AsyncAsk
    ) -> HttpResponseBase:
        """Return the response to a request, as `respond` does, with a coroutine function that asks the view."""
        if self._keeping.needs_user:  # who may have to be loaded
            asked = await sync_to_async(self._asked)(request, kwargs)
        else:
            asked = self._asked(request, kwargs)
        if asked is None:
            return await ask()
        known = self._known(asked)
        for _ in range(MOST_SIGNPOSTS):
            if request.method == "HEAD":
                found = await sync_to_async(_glanced)(self._keeping, asked, known)
            else:
                name = partial(self._keeping.named, asked, known)
                found = await aanswer(self._keeping.recipe, name, self._amaker(asked, known, ask))
            if not isinstance(found, Signpost):
                return await ask() if found is MISSING else self._response(asked, found)
            known |= set(found.variations)
            learn(asked.path, known)
        return await ask()

    def invalidate(self) -> None:
        """Void all pages of the view; inside a transaction that happens with its COMMIT."""
        void_with_transaction([namespace_tag(self._keeping.namespace)])

    async def ainvalidate(self) -> None:
        """Void all pages of the view, as `invalidate` does."""
        await sync_to_async(self.invalidate)()

    def _asked(self, request: HttpRequest, kwargs: Mapping[str, Any]) -> Request | None:
        reason: Request | str = why_not_asked(request)
        if not reason:
            reason = self._keeping.asked(request, kwargs) if options.CACHE_ENABLED else "disabled"
        if not isinstance(reason, str):
            return reason
        if reason != "method":
            tell_read(self, "bypass", reason)
        return None

    def _known(self, asked: Request) -> Variations:
        return self._keeping.declared | learnt_of(asked.path)

    def _maker(self, asked: Request, known: Variations, ask: Ask) -> Callable[[], Made]:
        def make() -> Made:
            with self._keeping.watch(asked) as watch:
                response = ask()
                if _is_unrendered(response):
                    response = cast("Any", response).render()
            return self._keeping.made(asked, known, response, watch)

        return make

    def _amaker(self, asked: Request, known: Variations, ask: AsyncAsk) -> Callable[[], Awaitable[Made]]:
        async def make() -> Made:
            with self._keeping.watch(asked) as watch:
                response = await ask()
                if _is_unrendered(response):
                    response = await sync_to_async(cast("Any", response).render)()
            return await sync_to_async(self._keeping.made)(asked, known, response, watch)

        return make

    def _response(self, asked: Request, found: Any) -> HttpResponseBase:
        """Return what is sent of a page, found or just made."""
        if not isinstance(found, Made):
            response = shown(found, asked.request)
        elif found.page is not None:
            learn(asked.path, found.variations)
            response = shown_first(found.page, asked.request, cast("HttpResponse", found.response))
        else:
            self._note_refusal(asked, found)
            return found.response
        response.perfkit_page = True  # type: ignore[attr-defined]  # for a middleware around this view
        return response

    def _note_refusal(self, asked: Request, made: Made) -> None:
        """Have nobody wait for a page that is not kept."""
        key = self._keeping.named(asked, made.variations).key
        tell_read(self, "bypass", made.refusal, key=key, tags=asked.tags)
        learn(asked.path, made.variations)
        if made.refusal == "status":
            return  # the next one may be kept
        durations.cannot_keep(key, UnstorableError(made.refusal))


def _glanced(keeping: Keeping, asked: Request, known: Variations) -> Any:
    """Return what is kept, MISSING where nothing is; nothing is made ready to keep another."""
    read = NamedRead(keeping.recipe, keeping.named(asked, known))
    read.glance()
    return read.value


def _is_unrendered(response: HttpResponseBase) -> bool:
    return callable(getattr(response, "render", None)) and not getattr(response, "is_rendered", True)
