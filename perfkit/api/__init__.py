"""Lists over HTTP with django-ninja: pages, sorting, limits, and the status of tasks."""

from perfkit.api.compiling.views import compiled
from perfkit.api.handlers import add_error_handlers
from perfkit.api.keysets.pages import KeysetPage, akeyset, keyset
from perfkit.api.keysets.pagination import KeysetPagination, link_headers
from perfkit.api.limits import PerMinuteThrottle, default_throttles
from perfkit.api.pages import OpenPage, Page, apaginate, apaginate_open, paginate, paginate_open
from perfkit.api.pagination import PagePagination
from perfkit.api.parameters import strict_query
from perfkit.api.partial import partial_response
from perfkit.api.renderers import FastJSONRenderer
from perfkit.api.sorting import Sorting
from perfkit.api.status import task_status_router
from perfkit.paging.ordering import total_order

__all__ = [
    "FastJSONRenderer",
    "KeysetPage",
    "KeysetPagination",
    "OpenPage",
    "Page",
    "PagePagination",
    "PerMinuteThrottle",
    "Sorting",
    "add_error_handlers",
    "akeyset",
    "apaginate",
    "apaginate_open",
    "compiled",
    "default_throttles",
    "keyset",
    "link_headers",
    "paginate",
    "paginate_open",
    "partial_response",
    "strict_query",
    "task_status_router",
    "total_order",
]
