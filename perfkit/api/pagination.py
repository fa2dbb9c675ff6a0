"""Page pagination for django-ninja's own `@paginate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Field, Schema
from ninja.pagination import AsyncPaginationBase

from perfkit.api.pages import DEFAULT_PAGE_SIZE, MAX_PAGE, MAX_PAGE_SIZE, Page, apaginate, paginate


class PagePagination(AsyncPaginationBase):
    """Pages by number, for sync and async views.

    Bad numbers are a 422 that names the field; past the end the answer is an empty page with the true total.
    The order is made total, see `perfkit.api.ordering.total_order`.

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

    class Output(Schema):
        """What the answer says beside the items."""

        items: list[Any]
        total: int = Field(description="Items on all pages together.")
        page: int
        page_size: int
        total_pages: int
        has_next: bool
        has_prev: bool

    def __init__(self, *, pass_parameter: str | None = None) -> None:
        super().__init__(pass_parameter=pass_parameter)

    def paginate_queryset(
        self,
        queryset: QuerySet[Any, Any] | Sequence[Any],
        pagination: Input,
        request: HttpRequest,
        **params: Any,
    ) -> dict[str, Any]:
        """Return the envelope as ninja wants it: a dict whose items it may replace."""
        return _envelope(paginate(queryset, pagination.page, pagination.page_size))

    async def apaginate_queryset(
        self,
        queryset: QuerySet[Any, Any] | Sequence[Any],
        pagination: Input,
        request: HttpRequest,
        **params: Any,
    ) -> dict[str, Any]:
        """Return the envelope; the async twin of `paginate_queryset`."""
        return _envelope(await apaginate(queryset, pagination.page, pagination.page_size))


def _envelope(page: Page[Any]) -> dict[str, Any]:
    return {field.name: getattr(page, field.name) for field in fields(page)}
