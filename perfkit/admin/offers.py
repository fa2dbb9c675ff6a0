"""What an admin lets somebody bring: which fields, how relations may be given, and what is done with the rows."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from django.db import router
from django.forms import ModelChoiceField
from django.forms.models import apply_limit_choices_to_to_formfield
from django.http import HttpRequest

from perfkit.admin.columns import importable_fields, lookup_fields
from perfkit.admin.rows import Existing
from perfkit.admin.ways import UPDATE, Way, ways
from perfkit.bulk.fields import ModelField


class Offer:
    """What an `ImportMixin` says to one request."""

    def __init__(self, model_admin: Any, request: HttpRequest) -> None:
        self._admin = model_admin
        self._request = request
        self._model = model_admin.model

    @cached_property
    def fields(self) -> dict[str, ModelField]:
        """What a column may be, by name."""
        known = importable_fields(self._model)
        return {name: known[name] for name in self._admin.get_import_fields(self._request)}

    @cached_property
    def lookups(self) -> dict[str, list[ModelField]]:
        """By what else than their key relations may be given: only such as the form offers rows for."""
        asked = self._admin.get_import_relation_keys(self._request)
        relations = {name: field for name, field in self.fields.items() if asked.get(name)}
        formed = self.formed(relations)
        return {
            name: [each for each in lookup_fields(field) if each.name in asked[name]]
            for name, field in relations.items()
            if isinstance(formed[name], ModelChoiceField)
        }

    @cached_property
    def set_by_hand(self) -> list[str]:
        """The relations to many that the admin's form has and a file cannot give."""
        many = self._model._meta.many_to_many
        left = [field for field in many if field.name in self._form and field.name not in self.fields]
        return [str(field.verbose_name) for field in left]

    def ways(self) -> list[Way]:
        """Return what may be done."""
        return ways(
            self._model,
            self.fields,
            self._admin.get_import_keys(self._request),
            may_add=self._admin.has_add_permission(self._request),
            may_change=self._admin.has_change_permission(self._request),
        )

    def formed(self, fields: Mapping[str, ModelField]) -> dict[str, Any]:
        """Return a form's field for each of `fields`: the admin's own or, where that has none, Django's."""
        formed: dict[str, Any] = {}
        for name, field in fields.items():
            formed[name] = copy.deepcopy(self._form.get(name) or field.formfield())
            if formed[name] is not None:
                apply_limit_choices_to_to_formfield(formed[name])
        return formed

    def existing(self, way: Way) -> Existing | None:
        """Return the rows of the table that rows of a file may mean."""
        if not way.key:
            return None
        if way.kind == UPDATE:
            return Existing(self._admin.get_queryset(self._request), way.key, is_required=True)
        rows = self._model._base_manager.using(router.db_for_write(self._model))
        return Existing(rows, way.key, is_required=False)

    @cached_property
    def _form(self) -> Mapping[str, Any]:
        fields: Mapping[str, Any] = self._admin.get_form(self._request, None, change=False).base_fields
        return fields
