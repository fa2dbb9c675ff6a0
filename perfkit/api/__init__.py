"""Lists and writes over HTTP with django-ninja: pages, filters, sorting, limits, idempotency, and task status."""

from perfkit.api.compiling.rows import (
    acompiled_json,
    acompiled_keyset,
    acompiled_rows,
    compiled_json,
    compiled_keyset,
    compiled_rows,
)
from perfkit.api.compiling.views import compiled
from perfkit.api.events import StreamTimes
from perfkit.api.filtering.filters import Filters
from perfkit.api.filtering.lookups import FromDay, In, Search, ToDay
from perfkit.api.handlers import add_error_handlers
from perfkit.api.heads import HeadMiddleware
from perfkit.api.keysets.pages import KeysetPage, akeyset, keyset
from perfkit.api.keysets.pagination import KeysetPagination, link_headers
from perfkit.api.limiting.decorator import rate_limit
from perfkit.api.limiting.middleware import RateLimitMiddleware
from perfkit.api.limiting.throttles import PerMinuteThrottle, RateLimitThrottle, default_throttles
from perfkit.api.pages import OpenPage, Page, apaginate, apaginate_open, paginate, paginate_open
from perfkit.api.pagination import PagePagination
from perfkit.api.parameters import strict_query
from perfkit.api.partial import partial_response
from perfkit.api.renderers import FastJSONRenderer
from perfkit.api.sorting import Sorting
from perfkit.api.status import task_status_router
from perfkit.api.summary import monitoring_router
from perfkit.api.writing.after import after_response, after_response_middleware
from perfkit.api.writing.bulk import bulk_body, bulk_create
from perfkit.api.writing.idempotent import idempotent
from perfkit.limiting.limiter import Limiter, Verdict
from perfkit.limiting.rules import Standing
from perfkit.paging.ordering import total_order
from perfkit.rates import Rate

__all__ = [
    "FastJSONRenderer",
    "Filters",
    "FromDay",
    "HeadMiddleware",
    "In",
    "KeysetPage",
    "KeysetPagination",
    "Limiter",
    "OpenPage",
    "Page",
    "PagePagination",
    "PerMinuteThrottle",
    "Rate",
    "RateLimitMiddleware",
    "RateLimitThrottle",
    "Search",
    "Sorting",
    "Standing",
    "StreamTimes",
    "ToDay",
    "Verdict",
    "acompiled_json",
    "acompiled_keyset",
    "acompiled_rows",
    "add_error_handlers",
    "after_response",
    "after_response_middleware",
    "akeyset",
    "apaginate",
    "apaginate_open",
    "bulk_body",
    "bulk_create",
    "compiled",
    "compiled_json",
    "compiled_keyset",
    "compiled_rows",
    "default_throttles",
    "idempotent",
    "keyset",
    "link_headers",
    "monitoring_router",
    "paginate",
    "paginate_open",
    "partial_response",
    "rate_limit",
    "strict_query",
    "task_status_router",
    "total_order",
]
