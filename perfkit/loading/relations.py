"""The relations of a model: what each leads to, and which columns it goes by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Model

PARENT: Final = "link to the parent's row"
CHILD: Final = "link to the child's row"


@dataclass(frozen=True, slots=True)
class Relation:
    """One hop of a path.

    Args:
        name: The attribute on the instance (accessor).
        join_name: What `select_related` calls it.
        model: The model at its other end, or None where it differs from row to row (a generic foreign key).
        is_many: It leads to any number of rows.
        kind: What people call it.
        own_columns: Fields that a row must have loaded for the rows at the other end to be found.
        their_columns: Fields that these must have loaded for a second query to find whose they are.
        back: The attribute by which the row of a one-to-one relation holds the row that led to it: Django sets it
            to that very instance. Empty for other relations.
    """

    name: str
    join_name: str
    model: type[Model] | None
    is_many: bool
    kind: str = "relation"
    own_columns: tuple[str, ...] = ()
    their_columns: tuple[str, ...] = ()
    back: str = ""


def relations_of(model: type[Model]) -> dict[str, Relation]:
    """Return every relation of `model` by the name of its attribute."""
    found: dict[str, Relation] = {}
    for relation in model._meta.get_fields():
        if not relation.is_relation:
            continue
        related = relation.related_model
        if related is None:  # a generic foreign key
            goes_by = _goes_by(relation, is_reverse=False)
            found[relation.name] = Relation(relation.name, relation.name, None, False, *goes_by)
            continue
        is_many = bool(relation.one_to_many or relation.many_to_many)
        is_reverse = relation.auto_created and not relation.concrete
        name = relation.get_accessor_name() if is_reverse else relation.name  # type: ignore[union-attr]
        if not name or name.endswith("+"):
            continue  # a hidden reverse side
        join_name = relation.field.related_query_name() if is_reverse else relation.name  # type: ignore[union-attr]
        found[name] = Relation(
            name, join_name, related._meta.model, is_many, *_goes_by(relation, is_reverse=is_reverse)
        )
    return found


def _goes_by(relation: Any, *, is_reverse: bool) -> tuple[str, tuple[str, ...], tuple[str, ...], str]:
    """Return what people call a relation, the fields of both ends that it goes by, and the way back."""
    if relation.related_model is None:
        return "generic foreign key", (relation.ct_field, relation.fk_field), (), ""
    if hasattr(relation, "object_id_field_name"):  # its class cannot be imported without its app
        return "generic relation", (), (relation.object_id_field_name, relation.content_type_field_name), ""
    if relation.many_to_many:
        field = relation.field if is_reverse else relation
        to_model = field.m2m_reverse_field_name() if is_reverse else field.m2m_field_name()
        link = field.remote_field.through._meta.get_field(to_model)
        return "many-to-many", _names(link.foreign_related_fields), (), ""
    is_single = bool(relation.one_to_one)
    if is_reverse:
        field = relation.field
        kind = "reverse one-to-one" if is_single else "reverse foreign key"
        kind = CHILD if is_single and field.remote_field.parent_link else kind
        ends = _names(field.foreign_related_fields), _names(field.local_related_fields)
        return kind, *ends, field.name if is_single else ""
    kind = PARENT if relation.remote_field.parent_link else "one-to-one" if is_single else "foreign key"
    ends = _names(relation.local_related_fields), _names(relation.foreign_related_fields)
    return kind, *ends, (relation.remote_field.get_accessor_name() or "") if is_single else ""


def _names(fields: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields)
