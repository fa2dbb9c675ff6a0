"""Which of an admin's own rules an import cannot follow: there the project has to say what may be done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django import forms
from django.contrib import admin

ROW_RULES: Final = (
    "has_change_permission",
    "get_readonly_fields",
    "get_form",
    "get_fieldsets",
    "get_fields",
    "get_exclude",
)
"""Methods of an admin that may decide row by row who changes what."""


def has_row_rules(model_admin: Any) -> bool:
    """Say whether the admin may treat one row otherwise than another when it changes it."""
    own, plain = type(model_admin), admin.ModelAdmin
    return any(getattr(own, name) is not getattr(plain, name) for name in ROW_RULES)


def may_hide_rows(model_admin: Any) -> bool:
    """Say whether the admin shows some of the table's rows only."""
    is_own = type(model_admin).get_queryset is not admin.ModelAdmin.get_queryset
    return is_own or bool(model_admin.model._default_manager.all().query.where)


def has_own_rules(form: type[forms.BaseModelForm[Any]]) -> bool:
    """Say whether a form is more than the fields of its model: it declares fields, or checks in its own code."""
    return bool(form.declared_fields) or any(_own_code(form))  # type: ignore[attr-defined]  # its metaclass makes it


def _own_code(form: type[forms.BaseModelForm[Any]]) -> Iterator[str]:
    for kind in form.__mro__:
        if kind in forms.ModelForm.__mro__:
            continue
        yield from (name for name in vars(kind) if name == "__init__" or name.lstrip("_").startswith("clean"))
