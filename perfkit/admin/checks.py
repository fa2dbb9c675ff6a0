"""What is wrong with the names that an admin gives for its import and export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import Error

from perfkit.admin.columns import unique_names
from perfkit.errors import nearest


def field_problems(model_admin: Any, option: str, names: Sequence[str]) -> Iterator[Error]:
    """Yield an error for each name that is that of no field of the model's table."""
    known = [field.name for field in model_admin.opts.concrete_fields]
    label = type(model_admin).__name__
    for name in names:
        if name not in known:
            problem = f"{label}.{option} names {name!r}, which is no field of {model_admin.opts.label}."
            yield Error(
                problem, hint=nearest(name, known).strip() or None, obj=model_admin.model, id="perfkit.E201"
            )


def key_problems(model_admin: Any, keys: Sequence[Sequence[str]]) -> Iterator[Error]:
    """Yield an error for each key that no unique constraint has."""
    known = [set(names) for names in unique_names(model_admin.model)]
    label = type(model_admin).__name__
    for key in keys:
        if isinstance(key, str) or set(key) not in known:
            constraint = f"no unique constraint of {model_admin.opts.label}"
            problem = f"{label}.import_keys has {key!r}, which is {constraint}."
            hint = "Name the fields of one that has no condition, as in import_keys = [('code',)]."
            yield Error(problem, hint=hint, obj=model_admin.model, id="perfkit.E202")
