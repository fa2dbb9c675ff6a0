"""Rows that an admin's list shows, as a CSV file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.options import IS_POPUP_VAR, IncorrectLookupParameters
from django.contrib.admin.utils import flatten_fieldsets
from django.core.checks import CheckMessage
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext_lazy

from perfkit.admin.checks import field_problems
from perfkit.admin.pages import url, url_name
from perfkit.bulk import bulk_copy_out

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:  # generic for the type checker only
    ModelAdmin = admin.ModelAdmin


class ExportMixin(ModelAdmin):
    """Adds to a ModelAdmin the export of the rows that its list shows, or that are selected in it.

    Attributes:
        export_fields: Names of the fields that are exported. Those that the admin's form shows where not given,
            and the primary key.
    """

    export_fields: ClassVar[Sequence[str] | None] = None
    change_list_template = "perfkit/admin/change_list.html"

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Say whether somebody may export what the list shows."""
        return self.has_view_permission(request)

    def get_export_fields(self, request: HttpRequest) -> list[str]:
        """Return the names of the fields that are exported."""
        if self.export_fields is not None:
            return list(self.export_fields)
        shown = flatten_fieldsets(self.get_fieldsets(request))
        fields = self.opts.concrete_fields
        return [each.name for each in fields if each.primary_key or each.name in shown]

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Add what is wrong with the names of fields."""
        return [*super().check(**kwargs), *field_problems(self, "export_fields", self.export_fields or ())]

    def get_urls(self) -> list[URLPattern]:
        """Return the admin's own, after that of the export."""
        view = self.admin_site.admin_view(self.export_view)
        return [path("export/", view, name=url_name(self, "export")), *super().get_urls()]

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        """Add the export of the selected rows; Django 6.1 and later say for which page."""
        located = {} if action_location is None else {"action_location": action_location}
        actions: dict[str, Any] = super().get_actions(request, **located)
        if self.actions is None or IS_POPUP_VAR in request.GET or not self.has_export_permission(request):
            return actions
        action = self.get_action("export_selected", **located)
        return actions if action is None else {**actions, "export_selected": action}

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, with a button for the export."""
        may_export = self.has_export_permission(request)
        context = {"export_url": url(self, "export") if may_export else None}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    @admin.action(description=gettext_lazy("Export selected %(verbose_name_plural)s as CSV"))
    def export_selected(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> HttpResponse | FileResponse:
        """Return the selected rows as a CSV file."""
        self._require_permission(request)
        return self._exported(request, queryset)

    def export_view(self, request: HttpRequest) -> HttpResponse | FileResponse:
        """Return all rows that the list's filters and search find as a CSV file."""
        self._require_permission(request)
        try:
            queryset = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(url(self, "changelist"))
        return self._exported(request, queryset)

    def _exported(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> FileResponse:
        file = tempfile.TemporaryFile()  # noqa: SIM115  # the response closes it
        bulk_copy_out(queryset, file, fields=self.get_export_fields(request))
        file.seek(0)
        name = f"{self.opts.model_name}-{timezone.now():%Y-%m-%d}.csv"
        return FileResponse(file, as_attachment=True, filename=name, content_type="text/csv; charset=utf-8")

    def _require_permission(self, request: HttpRequest) -> None:
        if not self.has_export_permission(request):
            raise PermissionDenied
