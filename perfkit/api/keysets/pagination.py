"""Keyset pagination for django-ninja's own `@paginate`, and `Link` headers for its pages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Field, Schema
from ninja.pagination import AsyncPaginationBase
from ninja.utils import is_async_callable

from perfkit.api.compiling.answers import Shown, envelope_of
from perfkit.api.compiling.contracts import Envelope, contract_of
from perfkit.api.compiling.driving import afinished, finished
from perfkit.api.compiling.fetching import Steps
from perfkit.api.compiling.responses import CompiledResponse, loaded, paged_answer
from perfkit.api.keysets.pages import KeysetPage, akeyset, keyset
from perfkit.api.pages import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from perfkit.caching.responses.addresses import canonical_query
from perfkit.paging.cursors import LONGEST_CURSOR

View = TypeVar("View", bound=Callable[..., Any])

OWN: Final = ("cursor", "page_size")
"""Parameters that say which page it is, not of which list."""

_LINKS: Final = "_perfkit_links"


class KeysetPagination(AsyncPaginationBase):
    """Pages by cursor, which cost the same at any depth, for sync and async views.

    A cursor holds for the same path and the same other parameters: filters, and what it is sorted by.
    Any other is a 422, and so is one that was changed.

    Args:
        compiled: Whether rows become JSON without instances where the schema allows it; the answer is the same.

    Queries:
        As `perfkit.api.keysets.pages.keyset`.

    Example:
        @api.get("/flights", response=list[FlightOut])
        @ninja.pagination.paginate(KeysetPagination)
        def flights(request): return Flight.objects.order_by("-time_hour")
    """

    class Input(Schema):
        """What the request may say."""

        cursor: str | None = Field(
            None,
            max_length=LONGEST_CURSOR,
            description="`next` or `previous` of another page; left out for the first.",
        )
        page_size: int = Field(DEFAULT_PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE, description="Items on a page.")

    class Output(Envelope):
        """What the answer says beside the items."""

        items: list[Any]
        next: str | None = Field(description="Cursor of the page after this one.")
        previous: str | None = Field(description="Cursor of the page before this one.")
        has_next: bool
        has_prev: bool

        def __init_subclass__(cls, **kwargs: Any) -> None:
            """Take a name of its own: ninja calls those of all paginations `Paged…`, and documents one."""
            super().__init_subclass__(**kwargs)
            cls.__name__ = cls.__qualname__ = f"Keyset{cls.__name__}"

    def __init__(self, *, compiled: bool = True, pass_parameter: str | None = None) -> None:
        super().__init__(pass_parameter=pass_parameter)
        self._is_compiled = compiled

    def paginate_queryset(
        self, queryset: QuerySet[Any, Any], pagination: Input, request: HttpRequest, **params: Any
    ) -> dict[str, Any] | CompiledResponse:
        """Return the envelope as ninja wants it, a dict whose items it may replace; or the answer itself."""
        compiled = finished(self._compiled(queryset, pagination, request), self._shown(queryset))
        if compiled is not None:
            return compiled
        if isinstance(queryset, QuerySet):
            queryset = loaded(contract_of(request), queryset)
        page = keyset(queryset, pagination.cursor, pagination.page_size, scope=_scope(request))
        return _envelope(page, request)

    async def apaginate_queryset(
        self, queryset: QuerySet[Any, Any], pagination: Input, request: HttpRequest, **params: Any
    ) -> dict[str, Any] | CompiledResponse:
        """Return the envelope; the async twin of `paginate_queryset`."""
        compiled = await afinished(self._compiled(queryset, pagination, request), self._shown(queryset))
        if compiled is not None:
            return compiled
        if isinstance(queryset, QuerySet):
            queryset = loaded(contract_of(request), queryset)
        page = await akeyset(queryset, pagination.cursor, pagination.page_size, scope=_scope(request))
        return _envelope(page, request)

    def _shown(self, queryset: Any) -> Any:
        """Return whose rows are shown without instances, None where they take these."""
        return queryset if self._is_compiled else None

    def _compiled(
        self, queryset: Any, pagination: Input, request: HttpRequest
    ) -> Steps[CompiledResponse | None]:
        """Return the answer without instances, None where it takes these."""
        if not self._is_compiled:
            return None
        make = partial(_shown_page, queryset, pagination, request)
        return (yield from paged_answer(request, queryset, make))


def link_headers(view: View) -> View:
    """Give the answers of a paginated operation a `Link` header with the addresses of the pages beside each.

    For `ninja.decorators.decorate_view`. Source: RFC 8288.

    Example:
        @api.get("/flights", response=list[FlightOut])
        @decorate_view(link_headers)
        @paginate(KeysetPagination)
        def flights(request): …
    """
    if is_async_callable(view):

        @wraps(view)
        async def linked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return _with_links(request, await view(request, *args, **kwargs))

    else:

        @wraps(view)
        def linked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return _with_links(request, view(request, *args, **kwargs))

    return cast("View", linked)


def _scope(request: HttpRequest) -> str:
    query = canonical_query(request.META.get("QUERY_STRING", ""), OWN)
    return f"{request.path}?{query or ''}"


def _shown_page(
    queryset: QuerySet[Any], pagination: KeysetPagination.Input, request: HttpRequest, shown: Shown
) -> Steps[KeysetPage[Any]]:
    page = yield from shown.keyset(queryset, pagination.cursor, pagination.page_size, scope=_scope(request))
    _note_links(page, request)
    return page


def _envelope(page: KeysetPage[Any], request: HttpRequest) -> dict[str, Any]:
    _note_links(page, request)
    return envelope_of(page)


def _note_links(page: KeysetPage[Any], request: HttpRequest) -> None:
    links = {"next": page.next, "prev": page.previous}
    vars(request)[_LINKS] = {relation: cursor for relation, cursor in links.items() if cursor}


def _with_links(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    links = vars(request).get(_LINKS, {})
    if links:
        kept = [(name, value) for name, value in request.GET.lists() if name != "cursor"]
        texts = []
        for relation, cursor in links.items():
            query = urlencode([*kept, ("cursor", [cursor])], doseq=True)
            texts.append(f'<{request.build_absolute_uri(request.path)}?{query}>; rel="{relation}"')
        response.headers["Link"] = ", ".join(texts)
    return response
