"""What perfkit adds to Django's admin: lists of large tables, import and export, pages of cache and jobs."""

from perfkit.admin.advice_page import IndexAdviceAdmin
from perfkit.admin.cache_page import CacheAdmin
from perfkit.admin.exports import ExportMixin
from perfkit.admin.imports import ImportMixin
from perfkit.admin.jobs_page import JobAdmin
from perfkit.admin.large_tables import LargeTableAdmin
from perfkit.admin.monitoring import MonitoringAdmin


class ImportExportMixin(ImportMixin, ExportMixin):
    """Adds both to a ModelAdmin.

    Example:
        >>> @admin.register(Airline)  # doctest: +SKIP
        ... class AirlineAdmin(ImportExportMixin, admin.ModelAdmin):
        ...     pass
    """


__all__ = [
    "CacheAdmin",
    "ExportMixin",
    "ImportExportMixin",
    "ImportMixin",
    "IndexAdviceAdmin",
    "JobAdmin",
    "LargeTableAdmin",
    "MonitoringAdmin",
]
