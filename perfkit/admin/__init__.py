"""What perfkit adds to Django's admin: import and export of a model's rows as CSV, and a page of the cache."""

from perfkit.admin.cache_page import CacheAdmin
from perfkit.admin.exports import ExportMixin
from perfkit.admin.imports import ImportMixin


class ImportExportMixin(ImportMixin, ExportMixin):
    """Adds both to a ModelAdmin.

    Example:
        >>> @admin.register(Airline)  # doctest: +SKIP
        ... class AirlineAdmin(ImportExportMixin, admin.ModelAdmin):
        ...     pass
    """


__all__ = ["CacheAdmin", "ExportMixin", "ImportExportMixin", "ImportMixin"]
