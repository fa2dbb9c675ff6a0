"""Admins with import and export, and of large tables."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest

from perfkit.admin import ImportExportMixin, LargeTableAdmin
from tests.testapp.imported import (
    Bin,
    Boxed,
    Branch,
    Crate,
    Dated,
    Folder,
    Kept,
    Maker,
    Measured,
    Owned,
    Parcel,
    Sticker,
    Stuck,
    Titled,
    Token,
    Ware,
)
from tests.testapp.large import Rack, Tome


@admin.register(Ware)
class WareAdmin(ImportExportMixin, admin.ModelAdmin):
    list_filter = ("kind",)
    search_fields = ("name",)
    list_per_page = 2

    def clean_import_row(self, request: HttpRequest, row: dict[str, Any]) -> dict[str, Any]:
        if row.get("name") == "magic":
            raise ValidationError("Magic is not for sale.")
        return row


@admin.register(Bin, Branch, Crate, Folder, Parcel, Sticker, Stuck)
class PlainAdmin(ImportExportMixin, admin.ModelAdmin):
    pass


@admin.register(Maker)
class MakerAdmin(ImportExportMixin, admin.ModelAdmin):
    list_display = ("name", "license")
    exclude = ("secret", "license")


@admin.register(Owned)
class OwnedAdmin(ImportExportMixin, admin.ModelAdmin):
    readonly_fields = ("owner",)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Owned]:
        return super().get_queryset(request).filter(owner=request.user.get_username())


@admin.register(Token, Measured, Kept, Titled, Dated)
class OtherAdmin(ImportExportMixin, admin.ModelAdmin):
    pass


@admin.register(Boxed)
class BoxedAdmin(ImportExportMixin, admin.ModelAdmin):
    pass


@admin.register(Tome)
class TomeAdmin(LargeTableAdmin, admin.ModelAdmin):
    """A list of few rows is large to it already."""

    count_cap = 20
    list_per_page = 5
    list_display = ("__str__", "code", "rank", "rack", "previous__rack__label", "added")
    list_filter = ("rack", "kind")
    search_fields = ("title", "=nickname", "code__startswith")
    ordering = ("-added",)


@admin.register(Rack)
class RackAdmin(LargeTableAdmin, admin.ModelAdmin):
    search_fields = ("label__startswith",)
