"""The list of an admin whose table is large: which rows a page shows, and what of it is left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.exceptions import FieldDoesNotExist
from django.core.paginator import InvalidPage
from django.db.models import F, OrderBy, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from perfkit.admin.date_steps import with_date_steps
from perfkit.admin.large_filters import large_filters
from perfkit.admin.page_numbers import PageLink, asked_of
from perfkit.admin.paginators import LargeTablePaginator
from perfkit.admin.rough_counts import RoughCount, is_whole_table, rows_of
from perfkit.admin.shown_relations import loaded, shown_relations


class LargeTableChangeList(ChangeList):
    """A `ChangeList` that counts no more rows than it says, and reads no more than it shows.

    Attributes:
        is_large: Whether there are more rows than are counted.
        is_of_large_table: Whether there would be without filters and search.
        has_left_out_facets: Whether somebody asked for counts beside the filters that would have taken too long.
    """

    is_large = False
    has_left_out_facets = False

    def get_filters(self, request: HttpRequest) -> Any:
        """Return Django's own answer, for filters that do not load any number of choices."""
        self.list_filter = large_filters(self.model, self.list_filter)
        return super().get_filters(request)

    def apply_select_related(self, qs: QuerySet[Any]) -> QuerySet[Any]:
        """Join what the project says; what the columns read besides is joined where the rows are read."""
        return super().apply_select_related(qs) if self.list_select_related else qs

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Return the order, with the columns of related rows where it names relations: a place needs those.

        A column that comes again, as where the admin's own order follows the one that was clicked, is left out.
        """
        ordering: list[Any] = []
        named: set[str] = set()
        for each in super().get_ordering(request, queryset):
            for term in _by_columns(self.model, each) if isinstance(each, str) else [each]:
                name = _name(term)
                if not name or name not in named:
                    ordering.append(term)
                named.add(name)
        return ordering

    def get_query_string(
        self, new_params: Mapping[str, Any] | None = None, remove: Iterable[str] | None = None
    ) -> str:
        """Return the address of the list with other parameters; a page is named by its place where it has one."""
        page = (new_params or {}).get(PAGE_VAR)
        if isinstance(page, PageLink):
            new_params = {**(new_params or {}), PAGE_VAR: str(page.asked)}
        return super().get_query_string(new_params, remove)  # type: ignore[arg-type]  # the stubs want a dict

    def get_results(self, request: HttpRequest) -> None:
        """Find the rows of the page; the same attributes are set as by Django."""
        shown = self._with_relations()
        paginator = self.model_admin.get_paginator(request, shown, self.list_per_page)
        if not isinstance(paginator, LargeTablePaginator):
            self.queryset = shown
            super().get_results(request)
            return
        count = paginator.count
        self.is_large = paginator.is_open
        self.can_show_all = not self.is_large and count <= self.list_max_show_all
        self.multi_page = self.is_large or count > self.list_per_page
        if (self.show_all and self.can_show_all) or not self.multi_page:
            self.result_list = shown
        else:
            try:
                page = paginator.asked(asked_of(request.GET.get(PAGE_VAR, "1")))
            except InvalidPage as error:
                raise IncorrectLookupParameters from error
            self.page_num, self.result_list = int(page.number), page.object_list
            if self.is_large and not paginator.is_open:  # it has turned out to be empty
                count, self.is_large, self.can_show_all, self.multi_page = 0, False, True, False
        self.result_count, self.paginator = count, paginator
        self.show_full_result_count = self.model_admin.show_full_result_count
        self.full_result_count = self._full_count if self.show_full_result_count else None
        self.show_admin_actions = not self.show_full_result_count or bool(self.full_result_count)
        self._leave_out_facets()
        if self.is_large and self.date_hierarchy:
            self.queryset = with_date_steps(self.queryset)

    def _with_relations(self) -> QuerySet[Any]:
        """Return the rows with the relations that the columns read."""
        wants_autoload: bool = self.model_admin.list_autoload  # type: ignore[attr-defined]  # the mixin has it
        paths = shown_relations(self.model_admin, self.list_display)
        return loaded(self.queryset, paths, is_autoloaded=wants_autoload)

    @cached_property
    def is_of_large_table(self) -> bool:  # noqa: D102  # told above
        return self.is_large or isinstance(self._full_count, RoughCount)

    @cached_property
    def _full_count(self) -> int:
        if is_whole_table(self.queryset):
            return self.result_count
        cap: int = self.model_admin.count_cap  # type: ignore[attr-defined]  # likewise
        return rows_of(self.root_queryset, cap=cap)

    def _leave_out_facets(self) -> None:
        """Count nothing beside filters where that would read more rows than are counted.

        A filter's counts are of the rows that the list has without this filter, so a short list does not make
        them cheap.
        """
        if self.is_large or (self.add_facets and self.is_of_large_table):
            self.has_left_out_facets = self.add_facets and bool(self.filter_specs)
            self.add_facets = self.is_facets_optional = False


def _by_columns(model: Any, term: str, seen: tuple[Any, ...] = ()) -> list[Any]:
    """Return an order by a relation as one by columns, as Django would read it; any other as it is."""
    path, sign = term.lstrip("-"), "-" if term.startswith("-") else ""
    try:
        field = model._meta.get_field(path)
    except FieldDoesNotExist:
        return [term]
    if not field.is_relation or not field.concrete or field.many_to_many or path == field.attname:
        return [term]
    related = field.related_model
    below = related._meta.ordering or ["pk"]
    if related in seen or not all(isinstance(each, str) and each != "?" for each in below):
        return [term]
    columns: list[Any] = []
    for each in below:
        for column in _by_columns(related, each, (*seen, model)):
            is_reversed = column.startswith("-") != bool(sign)
            columns.append(f"{'-' if is_reversed else ''}{path}__{column.lstrip('-')}")
    return columns


def _name(term: Any) -> str:
    """Return the column that a term of an order names; empty where it is an expression."""
    expression = term.expression if isinstance(term, OrderBy) else term
    if isinstance(expression, F):
        return str(expression.name)  # type: ignore[attr-defined]  # missing in the stubs
    return expression.lstrip("-") if isinstance(expression, str) else ""
