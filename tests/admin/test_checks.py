"""Names that an admin gives wrongly are found before anybody clicks."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from perfkit.admin import ImportExportMixin
from tests.testapp.imported import Ware


def found(**options: Any) -> list[tuple[str | None, str, str | None]]:
    kind = type("WareAdmin", (ImportExportMixin, admin.ModelAdmin), options)
    return [(each.id, each.msg, each.hint) for each in kind(Ware, admin.site).check()]


def test_it_finds_nothing_where_all_is_right() -> None:
    assert found() == []
    assert found(import_fields=["sku", "bin"], export_fields=["id", "photo"], import_keys=[["sku"]]) == []


def test_it_names_what_is_no_field() -> None:
    assert found(import_fields=["skuu"]) == [
        (
            "perfkit.E201",
            "WareAdmin.import_fields names 'skuu', which is no field of testapp.Ware.",
            "Did you mean 'sku'?",
        )
    ]
    assert [each[0] for each in found(export_fields=["bin__code"])] == ["perfkit.E201"]


def test_it_names_keys_that_are_not_unique() -> None:
    (problem,) = found(import_keys=[["name"]])
    assert problem[:2] == (
        "perfkit.E202",
        "WareAdmin.import_keys has ['name'], which is no unique constraint of testapp.Ware.",
    )
    assert [each[0] for each in found(import_keys=["sku"])] == ["perfkit.E202"]
