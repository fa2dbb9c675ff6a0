"""The pages of an import: upload a file, name its columns and see what would be written, confirm."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.text import capfirst
from django.utils.translation import gettext

from perfkit.admin.cleaning import RowCleaner
from perfkit.admin.columns import column_names, importable_fields
from perfkit.admin.forms import SHOWN_ROWS, ColumnsForm, UploadForm
from perfkit.admin.importer import Importer
from perfkit.admin.offers import Offer
from perfkit.admin.pages import url
from perfkit.admin.pending import PendingFiles
from perfkit.admin.previews import PreviewRow, former_rows, preview_rows, values_of
from perfkit.admin.relations import relations_of
from perfkit.admin.report import ImportReport
from perfkit.admin.rows import Values
from perfkit.bulk.files import csv_head
from perfkit.models import PendingImport


class ImportPages:
    """What one request to an admin's import is answered.

    Args:
        model_admin: An `ImportMixin`, whose rules are asked.
        request: Of somebody who may import.
    """

    def __init__(self, model_admin: Any, request: HttpRequest) -> None:
        self._admin = model_admin
        self._request = request
        self._model = model_admin.model
        self._offer = Offer(model_admin, request)
        self._opts = model_admin.opts
        self._files = PendingFiles(user_key=str(request.user.pk), model_label=model_admin.opts.label)

    def upload(self) -> HttpResponse:
        """Take a file."""
        form = UploadForm(self._request.POST or None, self._request.FILES or None)
        if self._request.method == "POST" and form.is_valid():
            pending = self._files.keep(form.cleaned_data)
            return HttpResponseRedirect(url(self._admin, "import_columns", pending.token))
        names = column_names(self._offer.fields, self._offer.lookups)
        return self._page("import_upload", form=form, names=names)

    def columns(self, token: str) -> HttpResponse:
        """Ask what the columns of the file are, try it, and show what would be written."""
        pending = self._files.find(token)
        if pending is None:
            return self._gone()
        form = self._columns_form(pending, self._request.POST if self._request.method == "POST" else None)
        if not form.is_valid():
            return self._page("import_columns", form=form, pending=pending)
        report = self._importer(pending, form).check()
        if not self._files.note(pending, form.cleaned_data, report.counts):
            return self._gone()
        return self._report_page(pending, form, report, is_check=True)

    def confirm(self, token: str) -> HttpResponse:
        """Write what was checked, once."""
        if self._request.method != "POST":
            return HttpResponseRedirect(url(self._admin, "import_columns", token))
        with transaction.atomic(using=self._files.alias):
            pending = self._files.find(token, is_locked=True)
            if pending is None:
                return self._gone()
            return self._confirmed(pending)

    def _confirmed(self, pending: PendingImport) -> HttpResponse:
        checked = pending.choices or {}
        if not checked or checked["check"] != self._request.POST.get("check"):
            problem = gettext("The columns were named anew meanwhile: check again.")
            self._admin.message_user(self._request, problem, messages.WARNING)
            return HttpResponseRedirect(url(self._admin, "import_columns", pending.token))
        form = self._columns_form(pending, checked["data"])
        if not form.is_valid():  # such as after a permission was taken away
            return self._page("import_columns", form=form, pending=pending)
        report = self._importer(pending, form).run(checked["counts"])
        if report.errors and not form.cleaned_data["skips_bad_rows"]:
            return self._report_page(pending, form, report, is_check=False)
        if not report.is_done:
            self._files.note(pending, form.cleaned_data, report.counts)
            problem = gettext("The table has changed since the check, and nothing was written: look again.")
            self._admin.message_user(self._request, problem, messages.WARNING)
            return self._report_page(pending, form, report, is_check=True)
        pending.delete()
        self._log(pending, form, report)
        if report.errors:
            return self._report_page(pending, form, report, is_check=False)
        self._admin.message_user(self._request, report.told(pending.file_name), messages.SUCCESS)
        return HttpResponseRedirect(url(self._admin, "changelist"))

    def _columns_form(self, pending: PendingImport, data: Mapping[str, Any] | None) -> ColumnsForm:
        lines = io.StringIO(_text(pending), newline="")
        names, rows = csv_head(lines, rows=SHOWN_ROWS, delimiter=pending.delimiter)
        offered = self._offer.ways()
        if not offered:
            raise PermissionDenied
        initial = (pending.choices or {}).get("data")
        return ColumnsForm(
            data,
            names=names,
            rows=rows,
            fields=self._offer.fields,
            lookups=self._offer.lookups,
            offered=offered,
            initial=initial,
        )

    def _importer(self, pending: PendingImport, form: ColumnsForm) -> Importer:
        given = {name: self._offer.fields[name] for name in form.field_names.values() if name}
        cleaner = RowCleaner(
            self._model,
            given,
            formed=self._offer.formed(given),
            given_by=form.lookups,
            existing=self._offer.existing(form.way),
            check=partial(self._admin.clean_import_row, self._request),
        )
        return Importer(
            self._model,
            _text(pending),
            delimiter=pending.delimiter,
            field_names=form.field_names,
            given_by=form.lookups,
            way=form.way,
            skips_bad_rows=form.cleaned_data["skips_bad_rows"],
            cleaner=cleaner,
        )

    def _report_page(
        self,
        pending: PendingImport,
        form: ColumnsForm,
        report: ImportReport,
        *,
        is_check: bool,
    ) -> HttpResponse:
        skips = form.cleaned_data["skips_bad_rows"]
        first_rows = list(report.first_rows.values())
        names = list(dict.fromkeys(name for row in first_rows for name in row))
        by_attname = {field.attname: field for field in importable_fields(self._model).values()}
        return self._page(
            "import_report",
            pending=pending,
            report=report,
            is_check=is_check,
            may_confirm=is_check and not report.is_cut and (skips or not report.errors) and report.written,
            check=(pending.choices or {}).get("check"),
            headings=[capfirst(str(by_attname[name].verbose_name)) for name in names],
            rows=self._preview(first_rows, names, form) if is_check else [],
            has_states=bool(form.way.key),
            confirm_url=url(self._admin, "import_confirm", pending.token),
            columns_url=url(self._admin, "import_columns", pending.token),
        )

    def _preview(self, rows: Sequence[Values], names: Sequence[str], form: ColumnsForm) -> list[PreviewRow]:
        way = form.way
        former = former_rows(self._admin, self._request, rows, way.key) if way.key else {}
        given = {name: self._offer.fields[name] for name in form.lookups}
        labels = {
            each.attname: each.names(values_of(each.attname, rows, former.values()))
            for each in relations_of(self._model, given, self._offer.formed(given), form.lookups)
        }
        key = [self._opts.get_field(name).attname for name in way.key]
        return preview_rows(rows, names, key, former, labels)

    def _page(self, template: str, **context: Any) -> HttpResponse:
        self._request.current_app = self._admin.admin_site.name
        common = {
            **self._admin.admin_site.each_context(self._request),
            "opts": self._opts,
            "title": gettext("Import %(name)s") % {"name": self._opts.verbose_name_plural},
            "media": self._admin.media,
            "set_by_hand": self._offer.set_by_hand,
            "upload_url": url(self._admin, "import"),
        }
        return TemplateResponse(self._request, f"perfkit/admin/{template}.html", {**common, **context})

    def _gone(self) -> HttpResponse:
        problem = gettext(
            "That file was imported, replaced by another one, or is older than a day: upload it again."
        )
        self._admin.message_user(self._request, problem, messages.WARNING)
        return HttpResponseRedirect(url(self._admin, "import"))

    def _log(self, pending: PendingImport, form: ColumnsForm, report: ImportReport) -> None:
        LogEntry.objects.create(
            user_id=self._request.user.pk,  # type: ignore[misc]  # who is here has one
            content_type_id=ContentType.objects.get_for_model(self._model, for_concrete_model=False).pk,
            object_repr=pending.file_name[:200],
            action_flag=CHANGE if form.way.key else ADDITION,
            change_message=report.told(pending.file_name),
        )


def _text(pending: PendingImport) -> str:
    return bytes(pending.content).decode("utf-8")
