"""Reads schemas and models for what an answer is made of (`nodes`).

Pure: never a database.
"""

from __future__ import annotations

from inspect import getattr_static
from typing import Any, Final, NamedTuple, cast, get_args, get_origin

from django.core.exceptions import FieldDoesNotExist
from django.db.models import ForeignKey, ManyToManyField, ManyToOneRel, Model
from django.db.models.query_utils import DeferredAttribute
from ninja import Schema
from pydantic import BaseModel

from perfkit.api.compiling.kinds import internal_type_of, kind_of
from perfkit.api.compiling.nodes import Leaf, Many, Node, NotCompiledError, One
from perfkit.errors import SchemaPlanError
from perfkit.hydration.eligibility import is_untouched
from perfkit.loading.schema_fields import SchemaField, shape_of

READERS: Final = frozenset(
    {"__init__", "__new__", "__getattribute__", "__getattr__", "model_post_init", "model_dump"}
    | {"model_validate", "__get_pydantic_core_schema__", "__get_validators__"}
)
"""Methods by which a schema has its own way to be made or shown."""

INERT: Final = frozenset(
    {"from_attributes", "title", "populate_by_name", "validate_by_name", "validate_by_alias", "frozen"}
    | {"json_schema_extra", "alias_generator", "protected_namespaces", "arbitrary_types_allowed"}
    | {"use_attribute_docstrings", "defer_build", "validate_assignment", "serialize_by_alias"}
)
"""Settings of pydantic that change nothing of what is shown of a row, or that are looked at here."""

NINJAS_OWN: Final = "_run_root_validator"
LISTS: Final = (list, tuple, set, frozenset)


def node_of(
    model: type[Model],
    schema: type,
    *,
    annotations: tuple[tuple[str, str], ...],
    by_alias: bool,
    is_typed: bool,
) -> Node:
    """Return what a schema shows of the rows of a model.

    Args:
        annotations: What else the rows have: names, and the internal types of these values.
        by_alias: Whether the answer has the aliases of the fields, where they have one.
        is_typed: Whether the database lets into a column only values of its type.

    Raises:
        NotCompiledError: Something of it has to be asked of an instance.
    """
    return _Reader(dict(annotations), by_alias=by_alias, is_typed=is_typed).node(model, schema)


class _Spot(NamedTuple):
    """Where a field is read.

    Args:
        model: Whose attribute it is.
        prefix: The path to its rows.
        told: As people find the field.
        name: As the answer has it.
        attribute: That is read.
        above: The schemas that it stands in.
    """

    model: type[Model]
    prefix: str
    told: str
    name: str
    attribute: str
    above: tuple[type, ...]


class _Reader:
    def __init__(self, annotations: dict[str, str], *, by_alias: bool, is_typed: bool) -> None:
        self._annotations = annotations
        self._by_alias = by_alias
        self._is_typed = is_typed

    def node(
        self, model: type[Model], schema: type, *, prefix: str = "", above: tuple[type, ...] = ()
    ) -> Node:
        """Return what a schema shows of a model's rows, which `prefix` leads to."""
        if schema in above:
            raise NotCompiledError(f"{schema.__qualname__} contains itself")
        _refuse_own_ways(schema)
        _refuse_own_rows(model)
        try:
            shape = shape_of(schema)
        except SchemaPlanError as error:
            raise NotCompiledError(str(error)) from error
        if shape.readers:
            raise NotCompiledError(f"{shape.readers[0].name} is given the row")
        fields = tuple([self._field(model, schema, each, prefix, (*above, schema)) for each in shape.fields])
        names = [each.name for each in fields]
        if twice := {name for name in names if names.count(name) > 1}:
            raise NotCompiledError(f"{schema.__qualname__} shows two fields as {min(twice)}")
        return Node(fields)

    def _field(
        self, model: type[Model], schema: Any, field: SchemaField, prefix: str, above: tuple[type, ...]
    ) -> Leaf | One | Many:
        info = schema.__pydantic_fields__[field.name]
        told = f"{schema.__qualname__}.{field.name}"
        if problem := _own_way(field, info):
            raise NotCompiledError(f"{told} {problem}")
        *hops, attribute = field.sources[0]
        for hop in hops:
            relation = _relation(model, hop, told)
            if relation.null:
                raise NotCompiledError(f"{told} is read through {hop}, which may be missing")
            model, prefix = cast("type[Model]", relation.related_model), f"{prefix}{hop}__"
            _refuse_own_rows(model)
        name = (info.serialization_alias if self._by_alias else None) or field.name
        spot = _Spot(model, prefix, told, name, attribute, above)
        if field.rows is not None or get_origin(info.annotation) in LISTS:
            return self._many(spot, field)
        if field.schemas:
            return self._one(spot, field, info.annotation)
        column, is_nullable = self._column(spot)
        kind = kind_of(
            info.annotation,
            tuple(info.metadata),
            column,
            is_nullable=is_nullable,
            is_typed=self._is_typed,
        )
        return Leaf(name, f"{prefix}{attribute}", kind)

    def _column(self, spot: _Spot) -> tuple[str, bool]:
        """Return what kind of field an attribute of a row is the value of, and whether it may be NULL."""
        name = spot.attribute
        if not spot.prefix and name in self._annotations:
            return self._annotations[name], True
        if name == "pk":
            name = spot.model._meta.pk.attname
        own = next((each for each in spot.model._meta.concrete_fields if each.attname == name), None)
        if own is None:
            raise NotCompiledError(f"{spot.told} reads {name}, which is no column")
        if not isinstance(getattr_static(spot.model, name), DeferredAttribute):
            raise NotCompiledError(f"{spot.told} reads {name}, which has a descriptor of its own")
        return internal_type_of(own), own.null or getattr(own, "generated", False)

    def _one(self, spot: _Spot, field: SchemaField, annotation: Any) -> One:
        relation = _relation(spot.model, spot.attribute, spot.told)
        if set(get_args(annotation) or [annotation]) - {type(None)} != {*field.schemas}:
            raise NotCompiledError(f"{spot.told} may be of several kinds")
        if len(field.schemas) != 1:
            raise NotCompiledError(f"{spot.told} may be of several schemas")
        if relation.null and type(None) not in get_args(annotation):
            raise NotCompiledError(f"{spot.told} may be missing, and the schema says it is there")
        related = cast("type[Model]", relation.related_model)
        prefix = f"{spot.prefix}{spot.attribute}__"
        node = self.node(related, field.schemas[0], prefix=prefix, above=spot.above)
        return One(spot.name, node, f"{spot.prefix}{relation.attname}" if relation.null else "")

    def _many(self, spot: _Spot, field: SchemaField) -> Many:
        chosen = field.rows
        accessor = chosen.name if chosen is not None else spot.attribute
        if len(field.schemas) != 1 or (chosen is not None and (chosen.relations or "__" in chosen.path)):
            raise NotCompiledError(f"{spot.told} lists rows with relations of their own")
        if chosen is not None and chosen.name == field.name and (chosen.limit or chosen.filter is not None):
            raise NotCompiledError(f"{spot.told} shows some rows under the name of all")
        related, lookup, key = _several(spot.model, accessor, spot.told)
        reader = _Reader({}, by_alias=self._by_alias, is_typed=self._is_typed)
        node = reader.node(related, field.schemas[0], above=spot.above)
        return Many(spot.name, node, related, spot.model, lookup, f"{spot.prefix}{key}", chosen)


def _own_way(field: SchemaField, info: Any) -> str:
    """Return what has to be done for a field besides reading one attribute; empty for nothing."""
    ways = {
        "is excluded": info.exclude or getattr(info, "exclude_if", None) is not None,
        "is made by a function": field.resolver is not None or field.needs is not None,
        "is an expression of the schema": field.expression is not None,
        "is changed by a function": field.validators or any(hasattr(each, "func") for each in info.metadata),
        "shows the keys of related rows": field.is_keys,
        "is read from one of several names": len(field.sources) != 1,
    }
    return next((way for way, is_so in ways.items() if is_so), "")


def _refuse_own_ways(schema: Any) -> None:
    """Refuse a schema that does more than to read attributes and to show them."""
    name = schema.__qualname__
    if not issubclass(schema, BaseModel):
        raise NotCompiledError(f"{name} is no schema of ninja")
    decorators = schema.__pydantic_decorators__
    own = [each for each in decorators.model_validators if each != NINJAS_OWN]
    kinds = ("validators", "field_validators", "root_validators", "field_serializers", "model_serializers")
    for kind in (*kinds, "computed_fields"):
        if functions := getattr(decorators, kind):
            raise NotCompiledError(f"{name}.{next(iter(functions))} is a function of the schema")
    if own:
        raise NotCompiledError(f"{name}.{own[0]} is a function of the schema")
    if unknown := {key for key, value in schema.model_config.items() if value} - INERT:
        raise NotCompiledError(f"{name} has pydantic's setting {min(unknown)}")
    for part in schema.__mro__:
        if part in {BaseModel, Schema} or part in BaseModel.__mro__:
            continue
        if found := READERS & vars(part).keys():
            raise NotCompiledError(f"{part.__qualname__} has its own {min(found)}")


def _refuse_own_rows(model: type[Model]) -> None:
    if not is_untouched(model):
        raise NotCompiledError(f"{model._meta.label} makes its instances in its own way")


def _relation(model: type[Model], name: str, told: str) -> Any:
    """Return the foreign key of an attribute that holds a row."""
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        field = None
    if not isinstance(field, ForeignKey) or field.name != name:
        raise NotCompiledError(f"{told} reads {name}, which is no foreign key of {model._meta.label}")
    if not cast("Any", field).db_constraint:
        raise NotCompiledError(f"{told} reads {name}, whose rows the database does not vouch for")
    return field


def _several(model: type[Model], accessor: str, told: str) -> tuple[type[Model], str, str]:
    """Return the model of the rows that a relation leads to, and by which columns both ends know each other."""
    for relation in model._meta.get_fields():
        found: Any = relation
        if isinstance(relation, ManyToOneRel) and relation.one_to_many:
            if found.get_accessor_name() == accessor:
                return found.related_model, found.field.attname, found.target_field.attname
        elif type(relation) is ManyToManyField and relation.name == accessor:
            return found.related_model, found.related_query_name(), model._meta.pk.attname
    raise NotCompiledError(f"{told} reads {accessor}, which is no relation to many rows")
