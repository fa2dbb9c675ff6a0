"""Page pagination for django-ninja's own `@paginate`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Field, Schema
from ninja.pagination import AsyncPaginationBase

from perfkit.api.compiling.answers import Shown, envelope_of
from perfkit.api.compiling.contracts import Envelope, contract_of
from perfkit.api.compiling.driving import afinished, finished
from perfkit.api.compiling.fetching import Steps
from perfkit.api.compiling.responses import CompiledResponse, loaded, paged_answer
from perfkit.api.counts import EXACT, Counting, checked_counting
from perfkit.api.pages import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE,
    MAX_PAGE_SIZE,
    OpenPage,
    Page,
    apaginate,
    apaginate_open,
    paged,
    paged_open,
    paginate,
    paginate_open,
)
from perfkit.errors import UsageError


class PagePagination(AsyncPaginationBase):
    """Pages by number, for sync and async views.

    Bad numbers are a 422 that names the field; past the end the answer is an empty page with the true total.
    The order is made total, see `perfkit.paging.ordering.total_order`.

    Args:
        count: How to count; see `perfkit.api.counts.counted`. With `"capped"`, `"estimated"` and `"none"` the
            answer is that of `OpenPage`, whose `total` may be null.

        compiled: Whether rows become JSON without instances where the schema allows it; the answer is the same.

    Queries:
        As `perfkit.api.pages.paginate`.

    Example:
        @api.get("/flights", response=list[FlightOut])
        @ninja.pagination.paginate(PagePagination)
        def flights(request): return Flight.objects.all()
    """

    class Input(Schema):
        """What the request may say."""

        page: int = Field(1, ge=1, le=MAX_PAGE, description="Page number, from 1.")
        page_size: int = Field(DEFAULT_PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE, description="Items on a page.")

    class Output(Envelope):
        """What the answer says beside the items."""

        items: list[Any]
        total: int = Field(description="Items on all pages together.")
        page: int
        page_size: int
        total_pages: int
        has_next: bool
        has_prev: bool

    class OpenOutput(Envelope):
        """What the answer says beside the items where not all rows are counted."""

        items: list[Any]
        total: int | None = Field(description="Items on all pages together; null where that is not known.")
        total_at_least: int = Field(description="So many there are for certain.")
        estimated_total: int | None = Field(description="What the database expects; it may be far off.")
        page: int
        page_size: int
        has_next: bool
        has_prev: bool

        def __init_subclass__(cls, **kwargs: Any) -> None:
            """Take a name of its own: ninja calls those of all paginations `Paged…`, and documents one."""
            super().__init_subclass__(**kwargs)
            cls.__name__ = cls.__qualname__ = f"Open{cls.__name__}"

    def __init__(
        self, *, count: Counting = "exact", compiled: bool = True, pass_parameter: str | None = None
    ) -> None:
        super().__init__(pass_parameter=pass_parameter)
        self._is_compiled = compiled
        self._count = checked_counting(count)
        if self._count not in EXACT:
            self.Output = self.OpenOutput  # type: ignore[misc,assignment]  # what ninja documents

    def paginate_queryset(
        self,
        queryset: QuerySet[Any, Any] | Sequence[Any],
        pagination: Input,
        request: HttpRequest,
        **params: Any,
    ) -> dict[str, Any] | CompiledResponse:
        """Return the envelope as ninja wants it, a dict whose items it may replace; or the answer itself."""
        compiled = finished(self._compiled(queryset, pagination, request), self._shown(queryset))
        if compiled is not None:
            return compiled
        if isinstance(queryset, QuerySet):
            queryset = loaded(contract_of(request), queryset)
        place = pagination.page, pagination.page_size
        if self._count == "exact" or self._count == "cached":  # noqa: PLR1714  # so that its type is known
            return envelope_of(paginate(queryset, *place, count=self._count))
        return envelope_of(paginate_open(_queryset(queryset), *place, count=self._count))

    async def apaginate_queryset(
        self,
        queryset: QuerySet[Any, Any] | Sequence[Any],
        pagination: Input,
        request: HttpRequest,
        **params: Any,
    ) -> dict[str, Any] | CompiledResponse:
        """Return the envelope; the async twin of `paginate_queryset`."""
        compiled = await afinished(self._compiled(queryset, pagination, request), self._shown(queryset))
        if compiled is not None:
            return compiled
        if isinstance(queryset, QuerySet):
            queryset = loaded(contract_of(request), queryset)
        place = pagination.page, pagination.page_size
        if self._count == "exact" or self._count == "cached":  # noqa: PLR1714  # so that its type is known
            return envelope_of(await apaginate(queryset, *place, count=self._count))
        return envelope_of(await apaginate_open(_queryset(queryset), *place, count=self._count))

    def _shown(self, queryset: Any) -> Any:
        """Return whose rows are shown without instances, None where they take these."""
        return queryset if self._is_compiled else None

    def _compiled(
        self, queryset: Any, pagination: Input, request: HttpRequest
    ) -> Steps[CompiledResponse | None]:
        """Return the answer without instances, None where it takes these."""
        if not self._is_compiled:
            return None
        return (yield from paged_answer(request, queryset, partial(self._page, queryset, pagination)))

    def _page(
        self, queryset: QuerySet[Any], pagination: Input, shown: Shown
    ) -> Steps[Page[Any] | OpenPage[Any]]:
        place = pagination.page, pagination.page_size
        if self._count == "exact" or self._count == "cached":  # noqa: PLR1714  # so that its type is known
            return (yield from paged(queryset, *place, count=self._count, read=shown.items))
        return (yield from paged_open(queryset, *place, count=self._count, read=shown.items))


def _queryset(rows: QuerySet[Any, Any] | Sequence[Any]) -> QuerySet[Any, Any]:
    if not isinstance(rows, QuerySet):
        raise UsageError(
            "A sequence is counted at once: leave PagePagination's count out, or return a queryset."
        )
    return rows
