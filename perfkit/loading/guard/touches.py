"""What a statement was sent for, read from the stack: the relation touched, or the method called.

Nothing of Django is patched: its own functions are on the stack while the statement is sent,
with the descriptor, the queryset or the instance as their `self`. It is looked at where a loop was found only.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

from django.db.models import Field, Manager, Model, QuerySet
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor, ReverseOneToOneDescriptor
from django.db.models.lookups import Lookup
from django.db.models.query import RawQuerySet
from django.db.models.query_utils import DeferredAttribute

from perfkit.loading.guard.generic import generic_relation_of, is_generic_descriptor
from perfkit.loading.guard.kinds import Kind
from perfkit.loading.relations import relations_of
from perfkit.watching.callers import is_own, renders_node

METHODS: Final = {
    "get": Kind.GET,
    "get_or_create": Kind.GET_OR_CREATE,
    "update_or_create": Kind.UPDATE_OR_CREATE,
    "create": Kind.INSERT,
    "add": Kind.INSERT,
    "bulk_create": Kind.INSERT,
    "set": Kind.UPDATE,
    "remove": Kind.DELETE,
    "clear": Kind.DELETE,
    "count": Kind.COUNT,
    "exists": Kind.EXISTS,
    "contains": Kind.EXISTS,
    "aggregate": Kind.AGGREGATE,
    "first": Kind.FIRST,
    "last": Kind.FIRST,
    "earliest": Kind.FIRST,
    "latest": Kind.FIRST,
    "update": Kind.UPDATE,
    "delete": Kind.DELETE,
    "_raw_delete": Kind.DELETE,
    "in_bulk": Kind.FILTER,
    "_fetch_all": Kind.FILTER,
    "_iterator": Kind.FILTER,
}
"""Methods of querysets and managers, by name, and what a statement of theirs is for."""

ON_INSTANCE: Final = {
    "save": Kind.SAVE,
    "save_base": Kind.SAVE,
    "delete": Kind.DELETE,
    "refresh_from_db": Kind.REFRESH,
}
"""Methods of instances."""

ON_RELATION: Final = {
    Kind.COUNT: Kind.RELATED_COUNT,
    Kind.EXISTS: Kind.RELATED_EXISTS,
    Kind.AGGREGATE: Kind.RELATED_AGGREGATE,
    Kind.FIRST: Kind.RELATED_FIRST,
    Kind.GET: Kind.RELATED_FIRST,
}


@dataclass(frozen=True, slots=True)
class Touch:
    """What a statement was sent for.

    Attributes:
        kind: What was called or read.
        model: The model that was touched; of a relation, the one it starts from. None for raw SQL.
        relation: The attribute of the relation or the deferred field; empty where none was touched.
        related: The model that the relation leads to.
        columns: Fields of `model` that the statement compares.
        is_prefetched: The relation was loaded before, and the statement asked once more.
        is_filtered: Some of the related rows were asked for.
    """

    kind: Kind
    model: type[Model] | None = None
    relation: str = ""
    related: type[Model] | None = None
    columns: tuple[str, ...] = ()
    is_prefetched: bool = False
    is_filtered: bool = False

    @property
    def name(self) -> str:
        """`app.Model.relation`, `app.Model`, or an empty string."""
        if self.model is None:
            return ""
        return f"{self.model._meta.label}.{self.relation}" if self.relation else self.model._meta.label


def touch_of(frame: FrameType | None) -> Touch:
    """Return what the statement was sent for that is being sent below `frame`.

    The outermost of Django's functions counts that stands below the first line of the project:
    the `get()` of a relation is part of reading the relation.
    """
    found: Touch | None = None
    while frame is not None:
        code = frame.f_code
        if renders_node(code) or is_own(code.co_filename):
            break
        if code.co_argcount and code.co_varnames[0] == "self":
            found = _touch(code.co_name, frame) or found
        frame = frame.f_back
    return found or Touch(Kind.RAW)


def _touch(name: str, frame: FrameType) -> Touch | None:
    """Return what the function of a frame is called for; None where it is none of those that say so."""
    owner: Any = frame.f_locals.get("self")
    cls = type(owner)  # not isinstance(): it would ask a lazy object for its class, and that may be a query
    if name == "__get__":
        return _read_attribute(cls, owner, frame.f_locals.get("instance"))
    if issubclass(cls, QuerySet | RawQuerySet | Manager):
        kind = METHODS.get(name)
        if issubclass(cls, RawQuerySet):
            return Touch(Kind.RAW, owner.model) if kind else None
        return _called(kind, owner) if kind else None
    if issubclass(cls, Model) and name in ON_INSTANCE:
        kind = ON_INSTANCE[name]
        return Touch(Kind.INSERT if kind is Kind.SAVE and owner._state.adding else kind, cls)
    return None


def _read_attribute(cls: type, owner: Any, instance: Any) -> Touch | None:
    if instance is None:
        return None
    model = type(instance)
    if issubclass(cls, ForwardManyToOneDescriptor):
        field = owner.field
        return Touch(Kind.FORWARD, model, field.name, field.related_model)
    if issubclass(cls, ReverseOneToOneDescriptor):
        return Touch(
            Kind.REVERSE_ONE_TO_ONE, model, owner.related.get_accessor_name(), owner.related.related_model
        )
    if is_generic_descriptor(cls):
        return Touch(Kind.GENERIC, model, getattr(owner, "field", owner).name)
    if issubclass(cls, DeferredAttribute):
        return Touch(Kind.DEFERRED, model, owner.field.attname)
    return None


def _called(kind: Kind, called: Any) -> Touch:
    """Return what a method of a queryset or a manager was called for."""
    if not isinstance(called, QuerySet):  # a manager, which has not made its queryset, or a related one
        parent = getattr(called, "instance", None)
        if parent is None:
            return Touch(kind, called.model)
        return Touch(ON_RELATION.get(kind, kind), type(parent), _accessor(called), called.model)
    queryset: Any = called
    columns = _columns(queryset)
    relation = relation_of(queryset)
    if relation is None or kind not in {*ON_RELATION, Kind.FILTER}:
        return Touch(kind, queryset.model, columns=tuple(columns))
    parent, name = relation
    model = parent if isinstance(parent, type) else type(parent)
    prefetched = getattr(parent, "_prefetched_objects_cache", {}) if isinstance(parent, Model) else {}
    return Touch(
        ON_RELATION.get(kind) or _rows_kind(queryset),
        model,
        name,
        queryset.model,
        is_prefetched=name in prefetched,
        is_filtered=_is_filtered(queryset),
    )


def _rows_kind(queryset: Any) -> Kind:
    """Say which rows of a relation were read: all, some of them, or their values."""
    query = queryset.query
    if query.is_sliced and query.high_mark == (query.low_mark or 0) + 1:
        return Kind.RELATED_FIRST
    if query.is_sliced or _is_filtered(queryset) or query.distinct or query.annotations:
        return Kind.RELATED_PART
    return Kind.RELATED_VALUES if queryset._fields is not None else Kind.RELATED_ROWS  # noqa: SLF001


def _is_filtered(queryset: Any) -> bool:
    """Say whether a related manager's queryset is kept to some of its rows."""
    # The filter by the row they belong to is one condition, of a generic relation two.
    children = queryset.query.where.children
    conditions = sum(len(child.children) if hasattr(child, "children") else 1 for child in children)
    return conditions > (2 if generic_relation_of(queryset) else 1)


def relation_of(queryset: Any) -> tuple[Model | type[Model], str] | None:
    """Return whose related rows a queryset asks for, the instance or its model, and the relation's attribute."""
    hints: dict[str, Any] = queryset._hints  # noqa: SLF001  # no public name
    parent = hints.get("instance")
    for field in queryset._known_related_objects:  # noqa: SLF001  # likewise
        relation = field.remote_field
        return (parent if parent is not None else relation.model), relation.get_accessor_name()
    if parent is not None:
        tables = {table.table_name for table in queryset.query.alias_map.values()}
        for relation in parent._meta.get_fields():
            if relation.many_to_many and relation.related_model is not None:
                is_reverse = relation.auto_created
                through = relation.through if is_reverse else relation.remote_field.through
                if through._meta.db_table in tables and issubclass(queryset.model, relation.related_model):
                    return parent, relation.get_accessor_name() if is_reverse else relation.name
    return generic_relation_of(queryset)


def _accessor(manager: Any) -> str:
    """Return the attribute under which a related manager stands, as far as it tells."""
    field: Any = getattr(manager, "field", None)
    if field is not None:
        return str(field.remote_field.get_accessor_name())
    name = str(getattr(manager, "prefetch_cache_name", ""))
    return name if name in relations_of(type(manager.instance)) else ""


def _columns(queryset: Any) -> list[str]:
    """Return the names of the model's own fields that a queryset compares, in their order."""
    names: list[str] = []
    ahead = list(queryset.query.where.children)
    while ahead:
        node = ahead.pop(0)
        if isinstance(node, Lookup):
            field = getattr(node.lhs, "target", None)
            if not isinstance(field, Field) or not issubclass(queryset.model, field.model):
                continue  # an expression, or a field of another model
            if field.name not in names:
                names.append(field.name)
        else:
            ahead += getattr(node, "children", [])
    return names
