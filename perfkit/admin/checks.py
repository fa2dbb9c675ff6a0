"""What is wrong with the names that an admin gives for its import and export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import Error, Warning  # noqa: A004  # Django's own name

from perfkit.admin.columns import may_be_imported, unique_names
from perfkit.admin.rules import has_model_rules, has_own_rules
from perfkit.bulk.plan import is_over_several_tables
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


def import_field_problems(model_admin: Any, names: Sequence[str]) -> Iterator[Error]:
    """Yield an error for each name that a file may not give."""
    yield from field_problems(model_admin, "import_fields", names)
    for field in model_admin.opts.concrete_fields:
        if field.name in names and not may_be_imported(field):
            problem = (
                f"{type(model_admin).__name__}.import_fields names {field.name!r}, which no cell can hold."
            )
            hint = "Leave out fields of files and generated fields."
            yield Error(problem, hint=hint, obj=model_admin.model, id="perfkit.E201")


def import_problems(model_admin: Any) -> Iterator[Warning]:
    """Yield a warning where an admin offers no import, though it should."""
    label, model = type(model_admin).__name__, model_admin.model
    if is_over_several_tables(model):
        problem = f"{label} offers no import: the rows of {model._meta.label} are spread over several tables."
        yield Warning(problem, hint="Use ExportMixin alone.", obj=model, id="perfkit.W201")
    elif model_admin.import_fields is None and (has_own_rules(model_admin.form) or has_model_rules(model)):
        whose = "form" if has_own_rules(model_admin.form) else "model"
        problem = f"{label} offers no import: its {whose} has rules of its own, which an import does not ask."
        hint = "Name what may be imported in import_fields, and check rows in clean_import_row()."
        yield Warning(problem, hint=hint, obj=model, id="perfkit.W201")


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
