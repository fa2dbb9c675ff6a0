"""An eager-loading plan as text: what is done in each step, why, and which columns are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.db.models import Model

from perfkit.loading.relations import Relation, relations_of

if TYPE_CHECKING:
    from perfkit.loading.plan import EagerPlan


def explained(plan: EagerPlan) -> Iterator[str]:
    """Yield the lines of a plan."""
    queries = "1 query" if plan.query_count == 1 else f"{plan.query_count} queries"
    yield f"{plan.model._meta.label}: {queries}"
    yield from _rows(plan, "  ")


def _rows(plan: EagerPlan, indent: str) -> Iterator[str]:
    """Yield what is read of the rows that one query loads."""
    reasons = list(plan.reasons)
    yield from _columns(plan, plan.model, "", indent)
    yield from (f"{indent}! {reason}" for path, reason in reasons if not path)
    for name, expression in plan.annotations:
        yield f"{indent}annotation {name} = {expression!r}: in the same query"
    for join in plan.joins:
        relation, model, attributes = _joined(plan.model, join)
        yield f"{indent}join {attributes}: {relation.kind}, leads to one row"
        yield from _columns(plan, model, join, indent + "  ")
        yield from (f"{indent}  ! {reason}" for path, reason in reasons if path == attributes)
    for path, below in plan.queries:
        yield from _query(path, below, [reason for told, reason in reasons if told == path], indent)


def _query(path: str, below: EagerPlan | None, reasons: list[str], indent: str) -> Iterator[str]:
    if below is None:
        yield f"{indent}query {path}: generic foreign key, one more query for each model it leads to"
        yield from (f"{indent}  ! {reason}" for reason in reasons)
        return
    kind = below.relation.kind if below.relation else "relation"
    if below.relation is None or below.relation.is_many:
        why = "leads to many rows"
    elif below.annotations:
        why = "its row is annotated"
    else:
        why = "in a table of its own"
    yield f"{indent}query {path}: {kind}, {why}; one more query for all of them"
    if below.rows is not None and below.rows.told():
        yield f"{indent}  {below.rows.told()}"
    yield f"{indent}  {below.model._meta.label}"
    yield from _rows(below, indent + "    ")


def _columns(plan: EagerPlan, model: type[Model], join: str, indent: str) -> Iterator[str]:
    """Yield which columns are read of the rows of `model` that `join` leads to."""
    count = len(model._meta.concrete_fields)
    if plan.only is None:
        yield f"{indent}all {count} columns"
        return
    prefix = f"{join}__" if join else ""
    names = [name.removeprefix(prefix) for name in plan.only if name.startswith(prefix)]
    names = [name for name in names if "__" not in name]
    if len(names) == count:
        yield f"{indent}all {count} columns"
    else:
        yield f"{indent}only {', '.join(names)} ({len(names)} of {count} columns)"


def _joined(model: type[Model], join: str) -> tuple[Relation, type[Model], str]:
    """Return the last relation of a join, the model it leads to, and the path of attributes that it is."""
    attributes = []
    for part in join.split("__"):
        relation = next(each for each in relations_of(model).values() if each.join_name == part)
        attributes.append(relation.name)
        assert relation.model is not None  # noqa: S101  # it is joined
        model = relation.model
    return relation, model, "__".join(attributes)
