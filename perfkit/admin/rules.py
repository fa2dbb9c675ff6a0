"""Which of an admin's own rules an import cannot follow: there the project has to say what may be done."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.db import models
from django.http import HttpRequest

ROW_RULES: Final = (
    "has_change_permission",
    "get_readonly_fields",
    "get_form",
    "get_fieldsets",
    "get_fields",
    "get_exclude",
)
"""Methods of an admin that may decide row by row who changes what."""


MODEL_RULES: Final = ("clean_fields", "full_clean", "validate_unique", "validate_constraints")


def has_row_rules(model_admin: Any) -> bool:
    """Say whether the admin may treat one row otherwise than another when it changes it."""
    own, plain = type(model_admin), admin.ModelAdmin
    return any(getattr(own, name) is not getattr(plain, name) for name in ROW_RULES)


def may_hide_rows(model_admin: Any) -> bool:
    """Say whether the admin shows some of the table's rows only."""
    is_own = type(model_admin).get_queryset is not admin.ModelAdmin.get_queryset
    return is_own or bool(model_admin.model._default_manager.all().query.where)


def shown_names(site: admin.AdminSite, model: type[models.Model], request: HttpRequest) -> set[str]:
    """Return the names of what the model's own admin shows to somebody, in its form or its list."""
    if not site.is_registered(model):
        return set()
    model_admin = site.get_model_admin(model)
    if not model_admin.has_view_permission(request):
        return set()
    listed = [name for name in model_admin.get_list_display(request) if isinstance(name, str)]
    return {*flatten_fieldsets(model_admin.get_fieldsets(request)), *listed}


def has_own_rules(form: type[forms.BaseModelForm[Any]]) -> bool:
    """Say whether a form is more than the fields of its model: it declares fields, or checks in its own code."""
    return bool(form.declared_fields) or any(_own_code(form))  # type: ignore[attr-defined]  # its metaclass makes it


def _own_code(form: type[forms.BaseModelForm[Any]]) -> Iterator[str]:
    """Yield the methods of a form that Django would call, and that are not Django's."""
    for kind in form.__mro__:
        if kind not in forms.ModelForm.__mro__:
            yield from (
                name
                for name, member in vars(kind).items()
                if isinstance(member, FunctionType)
                and (name.startswith("clean_") or hasattr(forms.ModelForm, name))
            )


def has_model_rules(model: type[models.Model]) -> bool:
    """Say whether the form would ask the model more than its fields and `clean`."""
    dated = ("unique_for_date", "unique_for_month", "unique_for_year")
    return any(getattr(model, name) is not getattr(models.Model, name) for name in MODEL_RULES) or any(
        getattr(field, name, None) for field in model._meta.concrete_fields for name in dated
    )
