"""What a ModelAdmin has that imports CSV files: its addresses, and who may bring what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.core.checks import CheckMessage
from django.core.exceptions import PermissionDenied
from django.forms import ModelChoiceField
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from perfkit.admin.checks import import_field_problems, import_problems, key_problems, relation_key_problems
from perfkit.admin.columns import (
    importable_fields,
    is_automatic,
    is_number,
    lookup_fields,
    may_be_imported,
    may_be_linked,
    unique_names,
)
from perfkit.admin.import_pages import ImportPages
from perfkit.admin.pages import url, url_name
from perfkit.admin.rows import Values
from perfkit.admin.rules import has_model_rules, has_own_rules, has_row_rules, may_hide_rows, shown_names
from perfkit.bulk.fields import ModelField
from perfkit.bulk.plan import is_over_several_tables

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
        import_relation_keys: By the name of a relation, names of unique fields of the other model by which a
            file may give it, as in `{"airline": ["name"]}`. Where not given, those that the other model's own
            admin shows to this person.

    Example:
        >>> @admin.register(Airline)  # doctest: +SKIP
        ... class AirlineAdmin(ImportMixin, admin.ModelAdmin):
        ...     pass
    """

    import_fields: ClassVar[Sequence[str] | None] = None
    import_keys: ClassVar[Sequence[Sequence[str]] | None] = None
    import_relation_keys: ClassVar[Mapping[str, Sequence[str]] | None] = None
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
        if has_own_rules(form) or has_model_rules(self.model):
            return []
        formed = {name: field for name, field in form.base_fields.items() if not field.disabled}
        return [
            each.name
            for each in importable_fields(self.model).values()
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

    def get_import_relation_keys(self, request: HttpRequest) -> dict[str, list[str]]:
        """Return by the name of each relation what `import_relation_keys` says."""
        if self.import_relation_keys is not None:
            return {name: list(keys) for name, keys in self.import_relation_keys.items()}
        keys: dict[str, list[str]] = {}
        for field in importable_fields(self.model).values():
            possible = lookup_fields(field)
            if possible and field.related_model is not None:
                seen = shown_names(self.admin_site, field.related_model, request)
                keys[field.name] = [each.name for each in possible if each.name in seen]
        return keys

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Add what is wrong with the names of fields."""
        fields = import_field_problems(self, self.import_fields or ())
        keys = key_problems(self, self.import_keys or ())
        relations = relation_key_problems(self, self.import_relation_keys or {})
        return [*super().check(**kwargs), *fields, *keys, *relations, *import_problems(self)]

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
        return self._pages(request).upload()

    def columns_view(self, request: HttpRequest, token: str) -> HttpResponse:
        """Ask what the columns of the file are, try it, and show what would be written."""
        return self._pages(request).columns(token)

    def confirm_view(self, request: HttpRequest, token: str) -> HttpResponse:
        """Write what was checked, once."""
        return self._pages(request).confirm(token)

    def _pages(self, request: HttpRequest) -> ImportPages:
        if not self._may_import(request):
            raise PermissionDenied
        return ImportPages(self, request)

    def _may_import(self, request: HttpRequest) -> bool:
        return (
            self.has_import_permission(request)
            and not is_over_several_tables(self.model)
            and bool(self.get_import_fields(request))
        )


def _is_usual(field: ModelField, formfield: Any) -> bool:
    """Say whether a cell can stand for what the form takes: no path of a file, and of a relation its keys.

    A form's field that is not Django's own may check what nobody here knows of.
    """
    is_known = type(formfield).__module__.startswith("django.")
    return (
        is_known
        and (may_be_imported(field) or may_be_linked(field))
        and (not field.is_relation or isinstance(formfield, ModelChoiceField))
    )
