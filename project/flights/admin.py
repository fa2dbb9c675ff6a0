"""The demo's admin: lists that stay quick on 336,776 flights.

No list counts all its rows, asks once per row, or sorts by what no index serves.
"""

from __future__ import annotations

import calendar
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import F, Q, QuerySet
from django.forms import BaseInlineFormSet
from django.http import HttpRequest

from perfkit.admin import ExportMixin, ImportExportMixin, LargeTableAdmin
from project.flights.models import (
    ActivityDay,
    ActivityLog,
    Airline,
    Airport,
    Flight,
    Plane,
    StatusReport,
    Weather,
)
from project.flights.search import HELP, NEW_YORK, flight_condition

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
    InlineFormSet = BaseInlineFormSet[Any, Any, Any]
    Lookups = list[tuple[str, str]]
else:  # generic for the type checker only
    ModelAdmin, TabularInline, InlineFormSet = admin.ModelAdmin, admin.TabularInline, BaseInlineFormSet

YEAR = 2013
LATE_MINUTES = 60
SHOWN_REPORTS = 20

admin.site.site_header = admin.site.site_title = "Flights out of New York"
admin.site.index_title = "perfkit demo"


class OriginFilter(admin.SimpleListFilter):
    """The three airports that flights leave from: all 1,458 would fill the side bar."""

    title = "origin"
    parameter_name = "origin"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> Lookups:
        """Return the three, without a query."""
        return [("EWR", "Newark (EWR)"), ("JFK", "Kennedy (JFK)"), ("LGA", "La Guardia (LGA)")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return what left from the chosen one."""
        return queryset.filter(origin=self.value()) if self.value() else queryset


class MonthFilter(admin.SimpleListFilter):
    """A month as a range of time, which the index of the list's order serves too."""

    title = "month"
    parameter_name = "month"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> Lookups:
        """Return the twelve months, without a query."""
        return [(str(month), calendar.month_name[month]) for month in range(1, 13)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return what was scheduled in the chosen month, by the clocks of New York."""
        chosen = self.value()
        if chosen not in dict(self.lookup_choices):
            return queryset
        month = int(chosen)
        first = datetime(YEAR, month, 1, tzinfo=NEW_YORK)
        after = datetime(YEAR + month // 12, month % 12 + 1, 1, tzinfo=NEW_YORK)
        return queryset.filter(time_hour__gte=first, time_hour__lt=after)


class OutcomeFilter(admin.SimpleListFilter):
    """What became of a flight."""

    title = "outcome"
    parameter_name = "outcome"
    conditions: ClassVar = {"cancelled": Q(dep_time__isnull=True), "late": Q(dep_delay__gte=LATE_MINUTES)}

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> Lookups:
        """Return the outcomes that an index finds."""
        return [("cancelled", "Cancelled"), ("late", "Left an hour late or more")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the flights of the chosen outcome."""
        condition = self.conditions.get(self.value() or "")
        return queryset if condition is None else queryset.filter(condition)


class ReadOnly:
    """Takes the permissions to add, change and delete away."""

    def has_add_permission(self, *args: object) -> bool:
        """Return False."""
        return False

    def has_change_permission(self, *args: object) -> bool:
        """Return False."""
        return False

    def has_delete_permission(self, *args: object) -> bool:
        """Return False."""
        return False


class LatestReports(InlineFormSet):
    """The latest reports of one flight, not all there may be."""

    def get_queryset(self) -> QuerySet[Any]:
        """Return the same list at each call."""
        if not hasattr(self, "_latest"):
            self._latest = super().get_queryset().select_related("author")[:SHOWN_REPORTS]
        return self._latest


class ReportInline(ReadOnly, TabularInline):
    """What was reported about a flight, to read."""

    model = StatusReport
    formset = LatestReports
    verbose_name_plural = f"latest {SHOWN_REPORTS} status reports"
    fields = readonly_fields = ("created_at", "kind", "delay_minutes", "gate", "author", "note")
    ordering = ("-created_at",)


@admin.register(Flight)
class FlightAdmin(LargeTableAdmin, ExportMixin, ModelAdmin):
    """Flights, latest first."""

    list_per_page = 50
    actions = None
    list_display = ("__str__", "time_hour", "airline", "route", "tailnum", "delay", "outcome")
    list_filter = (MonthFilter, OriginFilter, OutcomeFilter, "airline", "plane")
    sortable_by = ("time_hour", "delay")
    ordering = ("-time_hour", "-id")
    search_fields = ("tailnum__startswith",)
    search_help_text = HELP
    autocomplete_fields = ("airline", "plane", "origin", "destination")
    inlines = (ReportInline,)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the flights that every typed word may mean."""
        for word in search_term.split():
            queryset = queryset.filter(flight_condition(word))
        return queryset, False

    @admin.display(description="route")
    def route(self, flight: Flight) -> str:
        """Return the two codes, which need no join."""
        return f"{flight.origin_id} → {flight.dest_code}"

    @admin.display(description="delay", ordering=F("dep_delay").asc(nulls_first=True))
    def delay(self, flight: Flight) -> str:
        """Return how late it left, where it left."""
        return "-" if flight.dep_delay is None else f"{flight.dep_delay} min"

    @admin.display(description="outcome")
    def outcome(self, flight: Flight) -> str:
        """Return what became of it."""
        if flight.dep_time is None:
            return "Cancelled"
        return "Diverted" if flight.arr_delay is None else "Landed"


@admin.register(Airline)
class AirlineAdmin(ImportExportMixin, ModelAdmin):
    """The 16 airlines."""

    list_display = ("code", "name")
    search_fields = ("^code", "name")


@admin.register(Airport)
class AirportAdmin(ImportExportMixin, ModelAdmin):
    """All airports of the United States."""

    list_display = ("code", "name", "tzone", "altitude")
    list_filter = ("tzone",)
    search_fields = ("^code", "name")


@admin.register(Plane)
class PlaneAdmin(ImportExportMixin, ModelAdmin):
    """The aeroplanes that the registry knows."""

    list_display = ("tailnum", "manufacturer", "model", "year", "seats", "engine")
    list_filter = ("engine", "type")
    search_fields = ("^tailnum", "manufacturer", "model")


@admin.register(Weather)
class WeatherAdmin(LargeTableAdmin, ModelAdmin):
    """Hours of weather, latest first."""

    list_display = ("time_hour", "origin", "temp", "humid", "wind_speed", "precip", "visib")
    list_filter = (MonthFilter, OriginFilter)
    sortable_by = ("time_hour",)
    ordering = ("-time_hour",)
    autocomplete_fields = ("origin",)


@admin.register(StatusReport)
class StatusReportAdmin(LargeTableAdmin, ModelAdmin):
    """What people report, latest first."""

    list_display = ("__str__", "flight", "kind", "delay_minutes", "gate", "author", "created_at")
    list_filter = ("kind",)
    sortable_by = ("created_at",)
    ordering = ("-created_at",)
    search_fields = ("author__username__startswith",)
    search_help_text = "The beginning of the author's user name."
    autocomplete_fields = ("flight", "author")
    readonly_fields = ("created_at",)


@admin.register(ActivityLog)
class ActivityLogAdmin(ReadOnly, LargeTableAdmin, ModelAdmin):
    """What happened on the site, latest first, to read."""

    list_display = ("created_at", "user", "action")
    sortable_by = ("created_at",)
    ordering = ("-created_at",)
    search_fields = ("user__username__startswith",)
    search_help_text = "The beginning of the user's name."


@admin.register(ActivityDay)
class ActivityDayAdmin(ReadOnly, ModelAdmin):
    """What was done on each day, latest first, to read."""

    list_display = ("day", "action", "count")
    ordering = ("-day", "action")
