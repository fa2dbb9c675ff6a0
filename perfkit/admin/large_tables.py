"""The admin of a model whose table is large."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.contrib import admin, messages
from django.core.checks import CheckMessage
from django.core.paginator import Paginator
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext

from perfkit.admin.change_lists import LargeTableChangeList
from perfkit.admin.checks import large_table_problems
from perfkit.admin.paginators import LargeTablePaginator, ReadAheadPaginator
from perfkit.admin.rough_counts import COUNT_CAP, table_estimate
from perfkit.admin.search_advice import Unserved, unserved
from perfkit.admin.searched_columns import compared_columns
from perfkit.admin.shown_relations import with_texts
from perfkit.postgres.table_indexes import table_indexes

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    AnyPaginator = Paginator[Any]
else:  # generic for the type checker only
    ModelAdmin, AnyPaginator = admin.ModelAdmin, Paginator


class LargeTableAdmin(ModelAdmin):
    """Adds to a ModelAdmin a list that stays quick however many rows the table has.

    - Rows are counted up to 10,000: of more the list says "10,000+", and of a whole table on PostgreSQL "about
      336,776", as VACUUM or ANALYZE last saw it. Nothing else is counted.
    - The relations that the columns read are loaded with the rows: those that `list_display` names, and what its
      methods declare by `needs`. What they read besides is loaded for all rows at once.
    - Pages deep in the list are found by their place; the last one is found from the end.
    - Counts beside the filters are left out where they would read a large table; filters by a relation with more
      than 100 rows ask for its key, and those by the values of a column for the value.
    - A search that no index serves says so, and which index would, to superusers and where DEBUG is on.
    - Autocomplete fields that look for rows of this model count nothing.

    Attributes:
        count_cap: Rows that are counted one by one. A longer list is taken for large.
        list_autoload: Whether the rows of a page load for each other what the columns read without saying so.

    Queries:
        One for the count, two where the table is small; one for the keys of a page of a large list, see
        `perfkit.admin.open_lists`, and one for its rows. One to the catalogue where filters or a search are used.

    Example:
        >>> @admin.register(Flight)  # doctest: +SKIP
        ... class FlightAdmin(LargeTableAdmin, admin.ModelAdmin):
        ...     list_display = ("__str__", "airline", "plane__model")
    """

    paginator = LargeTablePaginator
    show_full_result_count = False
    count_cap: ClassVar[int] = COUNT_CAP
    list_autoload: ClassVar[bool] = True

    def may_see_search_notice(self, request: HttpRequest) -> bool:
        """Say whether somebody is told of an index that a search lacks."""
        return settings.DEBUG or bool(getattr(request.user, "is_superuser", False))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[LargeTableChangeList]:
        """Return the class of the list; subclass it where you need your own."""
        return LargeTableChangeList

    def get_paginator(
        self,
        request: HttpRequest,
        queryset: QuerySet[Any],
        per_page: int,
        orphans: int = 0,
        allow_empty_first_page: bool = True,  # as Django has it
    ) -> AnyPaginator:
        """Return the pages of the list, or of what an autocomplete field finds."""
        given = (queryset, per_page, orphans, allow_empty_first_page)
        if not issubclass(self.paginator, LargeTablePaginator):
            return self.paginator(*given)
        if request.resolver_match is not None and request.resolver_match.url_name == "autocomplete":
            return ReadAheadPaginator(with_texts(queryset), per_page, orphans, allow_empty_first_page)
        paginator = self.paginator(*given)
        paginator.count_cap = self.count_cap
        return paginator

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, and what was left out of it."""
        response = super().changelist_view(request, extra_context)
        shown = (getattr(response, "context_data", None) or {}).get("cl")
        if isinstance(shown, LargeTableChangeList):
            for notice in self._notices(request, shown):
                self.message_user(request, notice, messages.WARNING)
        return response

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Add what is wrong with the columns, and searches that no declared index serves."""
        return [*super().check(**kwargs), *large_table_problems(self)]

    def _notices(self, request: HttpRequest, shown: LargeTableChangeList) -> Iterator[str]:
        if shown.has_left_out_facets:
            yield gettext("The counts beside the filters are left out: there are too many %(rows)s.") % {
                "rows": self.opts.verbose_name_plural
            }
        if shown.query and self.may_see_search_notice(request):
            for each in self._unserved(request, shown):
                yield gettext(
                    "No index serves this search, so it reads the whole table: %(what)s. %(advice)s"
                ) % {
                    "what": each.problem,
                    "advice": each.advice,
                }

    def _unserved(self, request: HttpRequest, shown: LargeTableChangeList) -> list[Unserved]:
        connection = connections[shown.root_queryset.db]
        if connection.vendor != "postgresql":  # others have no index for it, and nobody to say how many rows
            return []
        columns = compared_columns(self, self.get_search_fields(request))
        if not columns:
            return []
        if not shown.is_large and (table_estimate(shown.root_queryset) or 0) <= self.count_cap:
            return []
        models = {each.model for each in columns}
        indexes = {model: table_indexes(connection, model._meta.db_table) for model in models}
        return unserved(columns, indexes)
