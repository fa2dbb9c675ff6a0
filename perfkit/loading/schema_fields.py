"""What the fields of a response schema read of a row: of django-ninja, pydantic and msgspec.

pydantic and ninja are not imported: their classes say of themselves what is asked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec

from perfkit.errors import SchemaPlanError
from perfkit.loading.declared_needs import Needs, needs_of
from perfkit.loading.related_rows import RelatedRows

Source = tuple[str, ...]
"""Attributes, the first of the row, each next of what the one before holds."""

NINJAS_OWN: Final = "_run_root_validator"
READING: Final = ("BeforeValidator", "WrapValidator", "PlainValidator")


@dataclass(frozen=True, slots=True)
class Reader:
    """A function of a schema that is given a row, or what an attribute of it holds.

    Args:
        name: As people find it.
        needs: What it declares; None where it declares nothing.
    """

    name: str
    needs: Needs | None


@dataclass(frozen=True, slots=True)
class SchemaField:
    """One field of a schema.

    Args:
        name: As the schema has it.
        sources: Where its value is looked for, in turn.
        schemas: Those that its type names.
        needs: What its metadata declares that it is made of.
        resolver: The function that makes it of the row.
        validators: Functions that are given what the attribute holds, before it is what the type says.
        expression: An annotation that gives its value.
        rows: Which rows of a relation it lists.
        is_keys: Of related rows it reads the keys alone.
    """

    name: str
    sources: tuple[Source, ...]
    schemas: tuple[type, ...] = ()
    needs: Needs | None = None
    resolver: Reader | None = None
    validators: tuple[Reader, ...] = ()
    expression: Any = None
    rows: RelatedRows | None = None
    is_keys: bool = False


@dataclass(frozen=True, slots=True)
class SchemaShape:
    """The fields of a schema, and the functions that are given the whole row before its fields are read."""

    fields: tuple[SchemaField, ...]
    readers: tuple[Reader, ...] = ()


def is_schema(kind: Any) -> bool:
    """Tell whether a type is a schema that is made from the attributes of a row."""
    if not isinstance(kind, type):
        return False
    if issubclass(kind, msgspec.Struct):
        return True
    is_pydantic = hasattr(kind, "model_fields") and isinstance(getattr(kind, "model_config", None), dict)
    return is_pydantic and not getattr(kind, "__pydantic_root_model__", False)


def shape_of(schema: type) -> SchemaShape:
    """Return what a schema reads.

    Raises:
        SchemaPlanError: It is no schema, or a type that it names cannot be found.
    """
    if not is_schema(schema):
        name = getattr(schema, "__qualname__", repr(schema))
        raise SchemaPlanError(name, "it is no schema of ninja or pydantic, and no Struct of msgspec.")
    try:
        return _of_struct(schema) if issubclass(schema, msgspec.Struct) else _of_pydantic(schema)
    except NameError as error:
        raise SchemaPlanError(
            schema.__qualname__, f"a type that it names cannot be found: {error}"
        ) from error


def _of_struct(schema: type[msgspec.Struct]) -> SchemaShape:
    return SchemaShape(
        tuple(
            _field(field.name, ((field.name,),), field.type, metadata=tuple(_metadata(field.type)))
            for field in msgspec.structs.fields(schema)
        )
    )


def _of_pydantic(schema: Any) -> SchemaShape:
    if not schema.__pydantic_complete__:
        schema.model_rebuild()
    resolvers = getattr(schema, "_ninja_resolvers", None)
    decorators = schema.__pydantic_decorators__
    fields = []
    for name, info in schema.__pydantic_fields__.items():
        sources = tuple(_sources(name, info, schema.model_config, is_ninja=resolvers is not None))
        keys = [] if _is_dotted(info) else [source[0] for source in sources]
        resolved = [
            Reader(f"{schema.__qualname__}.resolve_{key}", needs_of(resolvers[key]._func))  # noqa: SLF001  # ninja has no name for it
            for key in keys
            if resolvers and key in resolvers
        ]
        metadata = (*info.metadata, *_metadata(info.annotation))
        validators = [
            Reader(f"{schema.__qualname__}.{each.cls_var_name}", needs_of(each.func))
            for each in decorators.field_validators.values()
            if each.info.mode != "after" and not {name, "*"}.isdisjoint(each.info.fields)
        ]
        validators += [
            Reader(f"{schema.__qualname__}.{name}: {type(each).__name__}", needs_of(each.func))
            for each in metadata
            if type(each).__name__ in READING
        ]
        fields.append(
            _field(
                name,
                sources,
                info.annotation,
                metadata=metadata,
                resolver=resolved[0] if resolved else None,
                validators=tuple(validators),
            )
        )
    readers = tuple(
        Reader(f"{schema.__qualname__}.{each.cls_var_name}", needs_of(each.func))
        for each in decorators.model_validators.values()
        if each.info.mode != "after" and each.cls_var_name != NINJAS_OWN
    )
    return SchemaShape(tuple(fields), readers)


def _field(
    name: str,
    sources: tuple[Source, ...],
    annotation: Any,
    *,
    metadata: tuple[Any, ...],
    resolver: Reader | None = None,
    validators: tuple[Reader, ...] = (),
) -> SchemaField:
    kinds = tuple(dict.fromkeys(_types(annotation)))
    return SchemaField(
        name,
        sources,
        schemas=tuple(kind for kind in kinds if is_schema(kind)),
        needs=next((each for each in metadata if isinstance(each, Needs)), None),
        resolver=resolver,
        validators=validators,
        expression=next((each for each in metadata if hasattr(each, "resolve_expression")), None),
        rows=next((each for each in metadata if isinstance(each, RelatedRows)), None),
        is_keys=any(kind.__name__ == "M2MLink" and kind.__module__.startswith("ninja.") for kind in kinds),
    )


def _sources(name: str, info: Any, config: Any, *, is_ninja: bool) -> Iterator[Source]:
    """Yield where pydantic looks for a field's value, in turn."""
    alias = info.validation_alias if info.validation_alias is not None else info.alias
    if alias is None or config.get("validate_by_alias") is False:
        yield (name,)
        return
    for choice in getattr(alias, "choices", [alias]):
        if isinstance(choice, str):
            yield tuple(choice.split(".")) if is_ninja else (choice,)
        else:  # a path
            parts = choice.path
            end = next((place for place, part in enumerate(parts) if not isinstance(part, str)), len(parts))
            yield tuple(parts[:end])
    if config.get("populate_by_name") or config.get("validate_by_name"):
        yield (name,)


def _is_dotted(info: Any) -> bool:
    """Tell whether ninja looks for a field by a name with dots, which no resolver has."""
    return any("." in alias for alias in (info.validation_alias, info.alias) if isinstance(alias, str))


def _types(annotation: Any) -> Iterator[type]:
    """Yield the classes that a type is made of."""
    annotation = getattr(annotation, "__value__", annotation)  # of `type Name = …`
    if isinstance(annotation, str) or type(annotation).__name__ == "ForwardRef":
        raise NameError(str(annotation))
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal:
        return
    if get_origin(annotation) is Annotated:
        yield from _types(arguments[0])
    elif arguments:
        for argument in arguments:
            yield from _types(argument)
    elif isinstance(annotation, type):
        yield annotation


def _metadata(annotation: Any) -> Iterator[Any]:
    """Yield the metadata of a type, or of what may be None beside it."""
    annotation = getattr(annotation, "__value__", annotation)
    if get_origin(annotation) is Annotated:
        yield from annotation.__metadata__
        yield from _metadata(get_args(annotation)[0])
    elif type(None) in get_args(annotation):
        for argument in get_args(annotation):
            yield from _metadata(argument)
