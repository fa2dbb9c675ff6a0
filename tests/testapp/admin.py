"""Admins with import and export."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest

from perfkit.admin import ImportExportMixin
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
