"""An import follows the rules of the admin that it belongs to, or is not offered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.test import Client

from tests.admin.conftest import TWO, Importing, errors
from tests.testapp.imported import Bin, Branch, Ware

pytestmark = pytest.mark.django_db(transaction=True)


def offered(page: Any) -> list[str]:
    return [value for value, _ in page.context["form"].fields["way"].choices]


class StrictForm(forms.ModelForm):
    def clean_name(self) -> str:
        raise forms.ValidationError("Never.")


class AskingForm(forms.ModelForm):
    def _post_clean(self) -> None:
        super()._post_clean()


class DeclaringForm(forms.ModelForm):
    name = forms.CharField(max_length=30)


@pytest.mark.parametrize("form", [StrictForm, DeclaringForm, AskingForm])
def test_it_is_not_offered_where_the_form_has_rules_of_its_own(
    wares: Importing, admin_of: Callable[..., None], form: Any
) -> None:
    admin_of(Ware, form=form)
    assert wares.client.get(f"{wares.base}import/").status_code == 403
    assert "import/" not in wares.client.get(wares.base).content.decode()
    admin_of(Ware, form=form, import_fields=("sku", "name", "price"))
    wares.write(TWO, way="insert")
    assert Ware.objects.count() == 2


@pytest.mark.parametrize(
    "name", ["has_change_permission", "get_readonly_fields", "get_form", "get_fieldsets", "get_exclude"]
)
def test_it_updates_nothing_where_rows_may_have_rules(
    wares: Importing, admin_of: Callable[..., None], name: str
) -> None:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(admin.ModelAdmin, name)(self, *args, **kwargs)

    admin_of(Ware, **{name: method})
    assert offered(wares.upload("id," + TWO)) == ["insert"]
    admin_of(Ware, **{name: method, "import_keys": [("sku",), ("id",)]})
    assert offered(wares.upload("id," + TWO)) == ["insert", "upsert:sku", "update"]


def test_it_keeps_to_what_the_form_s_fields_offer(wares: Importing, admin_of: Callable[..., None]) -> None:
    def narrowed(self: Any, field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        formfield = admin.ModelAdmin.formfield_for_dbfield(self, field, request, **kwargs)
        if field.name == "kind":
            formfield.choices = [("t", "Tea")]
        if formfield is None:
            return None
        formfield.disabled = field.name == "note"
        formfield.required = formfield.required or field.name == "since"
        if field.name == "count":
            formfield.__class__ = type("OwnField", (type(formfield),), {})
        if field.name == "name":
            formfield.validators.append(no_exclamation)
        return formfield

    def no_exclamation(value: str) -> None:
        if "!" in value:
            raise forms.ValidationError("Calm down.")

    admin_of(Ware, formfield_for_dbfield=narrowed)
    page = wares.upload(
        "sku,name,price,kind,note,since,count\nA,x,1,c,n,2026-01-01,1\nB,x!,1,t,n,2026-01-01,1\nC,x,1,t,n,,1\n"
    )
    assert page.context["form"].fields["column_4"].initial == ""
    found = errors(wares.check(way="insert"))
    assert [(line, column) for line, column, _ in found] == [(2, "kind"), (3, "name"), (4, "since")]
    choices = dict(page.context["form"].fields["column_4"].choices)
    assert "note" not in choices
    assert "count" not in choices


def test_it_leaves_the_form_of_the_admin_as_it_was(wares: Importing, admin_of: Callable[..., None]) -> None:
    def shared(self: Any, *args: Any, **kwargs: Any) -> Any:
        return form

    form = forms.modelform_factory(Ware, fields=["sku", "name", "price", "bin"])
    before = str(form.base_fields["bin"].queryset.query)
    admin_of(Ware, get_form=shared)
    Bin.objects.create(code="b")
    wares.write("sku,name,price,bin\nA,x,1,b\n", way="insert")
    assert str(form.base_fields["bin"].queryset.query) == before


def test_it_looks_at_relations_within_the_table_too(
    person: Callable[..., Client], admin_of: Callable[..., None]
) -> None:
    def not_the_root(self: Any, field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return admin.ModelAdmin.formfield_for_foreignkey(
            self, field, request, queryset=Branch.objects.exclude(pk="r"), **kwargs
        )

    admin_of(Branch, formfield_for_foreignkey=not_the_root)
    Branch.objects.create(code="r")
    Branch.objects.create(code="o")
    page = Importing(person("branch"), "branch")
    page.upload("code,parent\na,o\nb,a\nc,r\n")
    assert [(line, column) for line, column, _ in errors(page.check(way="insert"))] == [(4, "parent")]


def test_it_overwrites_nothing_that_a_manager_hides(person: Callable[..., Client]) -> None:
    page = Importing(person("kept"), "kept")
    assert offered(page.upload("id,code\n1,a\n")) == ["insert", "update"]


def test_it_reads_rows_with_their_relations(wares: Importing, admin_of: Callable[..., None]) -> None:
    def joined(self: Any, request: HttpRequest) -> Any:
        return admin.ModelAdmin.get_queryset(self, request).select_related("bin")

    admin_of(Ware, get_queryset=joined)
    pk = Ware.objects.create(sku="A", name="x", price=1).pk
    wares.write(f"id,name\n{pk},new\n", way="update")
    assert Ware.objects.get().name == "new"


def test_it_is_not_offered_where_the_model_has_rules_of_its_own(person: Callable[..., Client]) -> None:
    assert person("dated").get("/admin/testapp/dated/import/").status_code == 403


def test_it_is_not_offered_for_rows_in_several_tables(person: Callable[..., Client]) -> None:
    client = person("boxed")
    assert client.get("/admin/testapp/boxed/import/").status_code == 403
    assert client.get("/admin/testapp/boxed/").status_code == 200
