"""A CSV file into the table of a model: uploaded, its columns named, tried, shown, and written once confirmed."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.checks import CheckMessage
from django.core.exceptions import PermissionDenied
from django.db import router, transaction
from django.forms import ModelChoiceField
from django.forms.models import apply_limit_choices_to_to_formfield
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext

from perfkit.admin.checks import import_field_problems, import_problems, key_problems
from perfkit.admin.cleaning import Existing, RowCleaner, Values
from perfkit.admin.columns import (
    is_automatic,
    is_number,
    is_over_several_tables,
    may_be_imported,
    unique_names,
)
from perfkit.admin.forms import SHOWN_ROWS, UPDATE, ColumnsForm, UploadForm, Way, ways
from perfkit.admin.importer import Importer, ImportReport
from perfkit.admin.pages import url, url_name
from perfkit.admin.pending import PendingFiles
from perfkit.admin.rules import has_own_rules, has_row_rules, may_hide_rows
from perfkit.bulk.fields import ModelField
from perfkit.bulk.files import csv_head
from perfkit.models import PendingImport

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:  # generic for the type checker only
    ModelAdmin = admin.ModelAdmin


class ImportMixin(ModelAdmin):
    """Adds to a ModelAdmin the import of CSV files, with a preview.

    A file is uploaded, its columns are named, and all is tried and taken back: the page then shows what would be
    written, and what is wrong in which line and column. Only what is confirmed there is written.
    Rows are checked as the admin's form would check them: by their fields, by what their relations may refer to
    and by `Model.clean`. They are written by the bulk calls, so that no `save()` or signal runs for each.

    Attributes:
        import_fields: Names of the fields that a file may give. Those of the admin's form where not given, and the
            automatic primary key, by which rows are updated; none where that form has rules of its own.
        import_keys: Names of the fields of unique constraints by which rows may be updated. All constraints that
            hold for every row where not given; none where the admin may treat one row otherwise than another,
            see `docs/how-to/admin.md`.

    Example:
        >>> @admin.register(Airline)  # doctest: +SKIP
        ... class AirlineAdmin(ImportMixin, admin.ModelAdmin):
        ...     pass
    """

    import_fields: ClassVar[Sequence[str] | None] = None
    import_keys: ClassVar[Sequence[Sequence[str]] | None] = None
    change_list_template = "perfkit/admin/change_list.html"

    def has_import_permission(self, request: HttpRequest) -> bool:
        """Say whether somebody may import: add rows, or change them."""
        return self.has_add_permission(request) or self.has_change_permission(request)

    def clean_import_row(self, request: HttpRequest, row: Values) -> Values:
        """Check the values of one row, by the fields' `attname`; return them, changed or not.

        Raises:
            ValidationError: The row is refused, and told in the report.
        """
        return row

    def get_import_fields(self, request: HttpRequest) -> list[str]:
        """Return the names of the fields that a file may give."""
        if self.import_fields is not None:
            return list(self.import_fields)
        form = self.get_form(request, None, change=False)
        if has_own_rules(form):
            return []
        formed = {name: field for name, field in form.base_fields.items() if not field.disabled}
        return [
            each.name
            for each in self.opts.concrete_fields
            if is_automatic(each) or (each.name in formed and _is_usual(each, formed[each.name]))
        ]

    def get_import_keys(self, request: HttpRequest) -> list[tuple[str, ...]]:
        """Return the fields of the primary key, and of each unique constraint, by which rows may be updated.

        Rows that are hidden from somebody are out of reach by an automatic primary key, but not by others.
        """
        if self.import_keys is not None:
            return [tuple(key) for key in self.import_keys]
        if has_row_rules(self):
            return []
        keys = unique_names(self.model)
        return [key for key in keys if is_number(self.model, key) or not may_hide_rows(self)]

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Add what is wrong with the names of fields."""
        fields = import_field_problems(self, self.import_fields or ())
        keys = key_problems(self, self.import_keys or ())
        return [*super().check(**kwargs), *fields, *keys, *import_problems(self)]

    def get_urls(self) -> list[URLPattern]:
        """Return the admin's own, after those of the import."""
        guarded = self.admin_site.admin_view
        one = "import/<str:token>/"
        return [
            path("import/", guarded(self.upload_view), name=url_name(self, "import")),
            path(one, guarded(self.columns_view), name=url_name(self, "import_columns")),
            path(f"{one}confirm/", guarded(self.confirm_view), name=url_name(self, "import_confirm")),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, with a button for the import."""
        context = {"import_url": url(self, "import") if self._may_import(request) else None}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def upload_view(self, request: HttpRequest) -> HttpResponse:
        """Take a file."""
        self._require_import_permission(request)
        form = UploadForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            pending = self._files(request).keep(form.cleaned_data)
            return HttpResponseRedirect(url(self, "import_columns", pending.token))
        return self._page(request, "import_upload", form=form, fields=self._importable(request).values())

    def columns_view(self, request: HttpRequest, token: str) -> HttpResponse:
        """Ask what the columns of the file are, try it, and show what would be written."""
        self._require_import_permission(request)
        pending = self._files(request).find(token)
        if pending is None:
            return self._gone(request)
        form = self._columns_form(request, pending, request.POST if request.method == "POST" else None)
        if not form.is_valid():
            return self._page(request, "import_columns", form=form, pending=pending)
        report = self._importer(request, pending, form).check()
        if not self._files(request).note(pending, form.cleaned_data, report.counts):
            return self._gone(request)
        return self._report_page(request, pending, form, report, is_check=True)

    def confirm_view(self, request: HttpRequest, token: str) -> HttpResponse:
        """Write what was checked, once."""
        self._require_import_permission(request)
        if request.method != "POST":
            return HttpResponseRedirect(url(self, "import_columns", token))
        files = self._files(request)
        with transaction.atomic(using=files.alias):
            pending = files.find(token, is_locked=True)
            if pending is None:
                return self._gone(request)
            return self._confirmed(request, pending)

    def _confirmed(self, request: HttpRequest, pending: PendingImport) -> HttpResponse:
        checked = pending.choices or {}
        if not checked or checked["check"] != request.POST.get("check"):
            problem = gettext("The columns were named anew meanwhile: check again.")
            self.message_user(request, problem, messages.WARNING)
            return HttpResponseRedirect(url(self, "import_columns", pending.token))
        form = self._columns_form(request, pending, checked["data"])
        if not form.is_valid():  # such as after a permission was taken away
            return self._page(request, "import_columns", form=form, pending=pending)
        report = self._importer(request, pending, form).run(checked["counts"])
        if report.errors and not form.cleaned_data["skips_bad_rows"]:
            return self._report_page(request, pending, form, report, is_check=False)
        if not report.is_done:
            self._files(request).note(pending, form.cleaned_data, report.counts)
            problem = gettext("The table has changed since the check, and nothing was written: look again.")
            self.message_user(request, problem, messages.WARNING)
            return self._report_page(request, pending, form, report, is_check=True)
        pending.delete()
        self._log(request, pending, form, report)
        if report.errors:
            return self._report_page(request, pending, form, report, is_check=False)
        self.message_user(request, _told(report, pending.file_name), messages.SUCCESS)
        return HttpResponseRedirect(url(self, "changelist"))

    def _importable(self, request: HttpRequest) -> dict[str, ModelField]:
        known = {field.name: field for field in self.opts.concrete_fields}
        return {name: known[name] for name in self.get_import_fields(request)}

    def _files(self, request: HttpRequest) -> PendingFiles:
        return PendingFiles(user_key=str(request.user.pk), model_label=self.opts.label)

    def _columns_form(
        self, request: HttpRequest, pending: PendingImport, data: Mapping[str, Any] | None
    ) -> ColumnsForm:
        fields = self._importable(request)
        lines = io.StringIO(_text(pending), newline="")
        names, rows = csv_head(lines, rows=SHOWN_ROWS, delimiter=pending.delimiter)
        offered = ways(
            self.model,
            fields,
            self.get_import_keys(request),
            may_add=self.has_add_permission(request),
            may_change=self.has_change_permission(request),
        )
        if not offered:
            raise PermissionDenied
        initial = (pending.choices or {}).get("data")
        return ColumnsForm(data, names=names, rows=rows, fields=fields, offered=offered, initial=initial)

    def _importer(self, request: HttpRequest, pending: PendingImport, form: ColumnsForm) -> Importer:
        fields = self._importable(request)
        given = {name: fields[name] for name in form.field_names.values() if name}
        cleaner = RowCleaner(
            self.model,
            given,
            formed=self._formed(request, given),
            existing=self._existing(request, form.way),
            check=self._row_check(request),
        )
        return Importer(
            self.model,
            _text(pending),
            delimiter=pending.delimiter,
            field_names=form.field_names,
            way=form.way,
            skips_bad_rows=form.cleaned_data["skips_bad_rows"],
            cleaner=cleaner,
        )

    def _row_check(self, request: HttpRequest) -> Callable[[Values], Values]:
        def check(row: Values) -> Values:
            return self.clean_import_row(request, row)

        return check

    def _existing(self, request: HttpRequest, way: Way) -> Existing | None:
        if not way.key:
            return None
        if way.kind == UPDATE:
            return Existing(self.get_queryset(request), way.key, is_required=True)
        rows = self.model._base_manager.using(router.db_for_write(self.model))
        return Existing(rows, way.key, is_required=False)

    def _formed(self, request: HttpRequest, fields: Mapping[str, ModelField]) -> dict[str, Any]:
        """Return a form's field for each of `fields`: the admin's own or, where that has none, Django's."""
        form = self.get_form(request, None, change=False)
        formed: dict[str, Any] = {}
        for name, field in fields.items():
            formed[name] = copy.deepcopy(form.base_fields.get(name) or field.formfield())
            if formed[name] is not None:
                apply_limit_choices_to_to_formfield(formed[name])
        return formed

    def _report_page(
        self,
        request: HttpRequest,
        pending: PendingImport,
        form: ColumnsForm,
        report: ImportReport,
        *,
        is_check: bool,
    ) -> HttpResponse:
        skips = form.cleaned_data["skips_bad_rows"]
        first = report.first_rows[0] if report.first_rows else {}
        by_attname = {field.attname: field for field in self.opts.concrete_fields}
        return self._page(
            request,
            "import_report",
            pending=pending,
            report=report,
            is_check=is_check,
            may_confirm=is_check and not report.is_cut and (skips or not report.errors) and report.written,
            check=(pending.choices or {}).get("check"),
            headings=[capfirst(str(by_attname[name].verbose_name)) for name in first],
            rows=[[_shown(value) for value in row.values()] for row in report.first_rows],
            confirm_url=url(self, "import_confirm", pending.token),
            columns_url=url(self, "import_columns", pending.token),
        )

    def _page(self, request: HttpRequest, template: str, **context: Any) -> HttpResponse:
        request.current_app = self.admin_site.name
        common = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("Import %(name)s") % {"name": self.opts.verbose_name_plural},
            "media": self.media,
            "upload_url": url(self, "import"),
        }
        return TemplateResponse(request, f"perfkit/admin/{template}.html", {**common, **context})

    def _gone(self, request: HttpRequest) -> HttpResponse:
        problem = gettext(
            "That file was imported, replaced by another one, or is older than a day: upload it again."
        )
        self.message_user(request, problem, messages.WARNING)
        return HttpResponseRedirect(url(self, "import"))

    def _log(
        self, request: HttpRequest, pending: PendingImport, form: ColumnsForm, report: ImportReport
    ) -> None:
        LogEntry.objects.create(
            user_id=request.user.pk,  # type: ignore[misc]  # who is here has one
            content_type_id=ContentType.objects.get_for_model(self.model, for_concrete_model=False).pk,
            object_repr=pending.file_name[:200],
            action_flag=CHANGE if form.way.key else ADDITION,
            change_message=_told(report, pending.file_name),
        )

    def _may_import(self, request: HttpRequest) -> bool:
        return (
            self.has_import_permission(request)
            and not is_over_several_tables(self.model)
            and bool(self.get_import_fields(request))
        )

    def _require_import_permission(self, request: HttpRequest) -> None:
        if not self._may_import(request):
            raise PermissionDenied


def _text(pending: PendingImport) -> str:
    return bytes(pending.content).decode("utf-8")


def _shown(value: Any) -> str | None:
    """Return a value as a page can show it, whatever it holds."""
    return None if value is None else str(value).encode("utf-8", "backslashreplace").decode()


def _is_usual(field: ModelField, formfield: Any) -> bool:
    """Say whether a cell can stand for what the form takes: no path of a file, and of a relation its key."""
    return may_be_imported(field) and (not field.is_relation or isinstance(formfield, ModelChoiceField))


def _told(report: ImportReport, name: str) -> str:
    """Say what an import did."""
    counts = {
        "created": report.created,
        "updated": report.updated,
        "untouched": report.untouched,
        "name": name,
    }
    text = gettext("%(name)s: %(created)s created, %(updated)s updated, %(untouched)s left as they were")
    lines = len({error.line for error in report.errors})
    refused = ngettext("%(count)s row refused", "%(count)s rows refused", lines) % {"count": lines}
    return f"{text % counts}, {refused}." if lines else f"{text % counts}."
