"""What is wrong with what an admin says of its import and export, and of its list of a large table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  # Django's own name
from django.db import connections, router

from perfkit.admin.columns import (
    importable_fields,
    lookup_fields,
    may_be_imported,
    may_be_linked,
    unique_names,
)
from perfkit.admin.declared_indexes import declared_indexes
from perfkit.admin.rules import has_model_rules, has_own_rules
from perfkit.admin.search_advice import unserved
from perfkit.admin.searched_columns import Access, compared_columns
from perfkit.admin.shown_relations import shown_relations
from perfkit.bulk.plan import is_over_several_tables
from perfkit.errors import UsageError, nearest


def field_problems(
    model_admin: Any, option: str, names: Sequence[str], others: Sequence[str] = ()
) -> Iterator[Error]:
    """Yield an error for each name that is that of no field of the model's table, nor among `others`."""
    known = [*(field.name for field in model_admin.opts.concrete_fields), *others]
    label = type(model_admin).__name__
    for name in names:
        if name not in known:
            problem = f"{label}.{option} names {name!r}, which is no field of {model_admin.opts.label}."
            yield Error(
                problem, hint=nearest(name, known).strip() or None, obj=model_admin.model, id="perfkit.E201"
            )


def import_field_problems(model_admin: Any, names: Sequence[str]) -> Iterator[Error]:
    """Yield an error for each name that a file may not give."""
    many = {field.name: field for field in model_admin.opts.many_to_many}
    yield from field_problems(model_admin, "import_fields", names, list(many))
    for field in [*model_admin.opts.concrete_fields, *many.values()]:
        if field.name in names and not (may_be_imported(field) or may_be_linked(field)):
            problem = (
                f"{type(model_admin).__name__}.import_fields names {field.name!r}, which no cell can hold."
            )
            hint = (
                "Leave out relations to many within a table or with a table of their own."
                if field.name in many
                else "Leave out fields of files and generated fields."
            )
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


def relation_key_problems(model_admin: Any, keys: Mapping[str, Sequence[str]]) -> Iterator[Error]:
    """Yield an error for each relation whose rows a file cannot name in that way."""
    fields = importable_fields(model_admin.model)
    label = type(model_admin).__name__
    for name, others in keys.items():
        allowed = [each.name for each in lookup_fields(fields[name])] if name in fields else []
        if isinstance(others, str) or not set(others) <= set(allowed):
            problem = (
                f"{label}.import_relation_keys gives {name!r} by {others!r}, which may not name one row."
            )
            names = ", ".join(allowed) or "none"
            hint = f"Name, in a list, unique fields of the other model that are never NULL: {names}."
            yield Error(problem, hint=hint, obj=model_admin.model, id="perfkit.E203")


def large_table_problems(model_admin: Any) -> Iterator[CheckMessage]:
    """Yield what is wrong with the list of an admin of a large table, as far as classes tell."""
    label, model = type(model_admin).__name__, model_admin.model
    try:
        shown_relations(model_admin, model_admin.list_display)
    except UsageError as error:
        problem = f"{label}.list_display has a column that needs what is not there: {error}"
        yield Error(problem, hint="Correct the names in its @needs(…).", obj=model, id="perfkit.E204")
    if connections[router.db_for_read(model)].vendor != "postgresql":
        return
    columns = [
        each
        for each in compared_columns(model_admin, model_admin.search_fields)
        if each.access is not Access.WORDS  # of whose indexes only the database knows what is in them
    ]
    indexes = {each.model: declared_indexes(each.model) for each in columns}
    for found in unserved(columns, indexes):
        problem = f"{label} searches by what no declared index serves: {found.problem}."
        yield Warning(problem, hint=found.advice, obj=model, id="perfkit.W202")
