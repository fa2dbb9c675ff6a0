"""Lists over HTTP with django-ninja: pages, sorting, limits, and the status of tasks."""

from perfkit.api.handlers import add_error_handlers
from perfkit.api.limits import PerMinuteThrottle, default_throttles
from perfkit.api.ordering import total_order
from perfkit.api.pages import Page, apaginate, paginate
from perfkit.api.pagination import PagePagination
from perfkit.api.parameters import strict_query
from perfkit.api.sorting import Sorting
from perfkit.api.status import task_status_router

__all__ = [
    "Page",
    "PagePagination",
    "PerMinuteThrottle",
    "Sorting",
    "add_error_handlers",
    "apaginate",
    "default_throttles",
    "paginate",
    "strict_query",
    "task_status_router",
    "total_order",
]
