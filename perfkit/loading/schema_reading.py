"""Follows what a schema reads along the attributes of a model, and notes it in what is wanted.

Pure: it reads models and schemas, never a database.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from perfkit.errors import SchemaFieldError, SchemaPlanError
from perfkit.loading.attributes import attribute_of, attributes_of, reads_all
from perfkit.loading.declared_needs import Needs
from perfkit.loading.related_rows import RelatedRows
from perfkit.loading.relations import relations_of
from perfkit.loading.schema_fields import Reader, SchemaField, Source, shape_of
from perfkit.loading.wanted import Wanted

Schemas = tuple[type, ...]
Trail = tuple[type | str, ...]
"""The schemas, and the computed attributes, that led to where one is."""

PREFETCHED: Final = ("all", "count", "exists")
"""Methods of a manager that answer from rows which are loaded."""


class Reading:
    """Follows schemas; `given` are attributes that the rows of the queryset have besides those of their model."""

    def __init__(self, given: frozenset[str]) -> None:
        self._given = given

    def schema(self, wanted: Wanted, schema: type, trail: Trail) -> None:
        """Want what serialising rows by a schema reads of them.

        Raises:
            SchemaFieldError, SchemaPlanError: As `schema_plan`.
        """
        if schema in trail:
            chain = " > ".join(each.__qualname__ for each in (*trail, schema) if isinstance(each, type))
            raise SchemaPlanError(
                schema.__qualname__,
                f"it contains itself ({chain}): how deep its rows go is not known before they are read. "
                "Write a schema of its own for the last level.",
            )
        shape = shape_of(schema)
        if wanted.model is None:
            self._generic(wanted, schema, shape.fields)
            return
        if reason := reads_all(wanted.model):
            wanted.whole[f"all columns: {reason}"] = None
        for reader in shape.readers:
            self._function(wanted, reader)
        for field in shape.fields:
            if shape.readers and not self._is_read(wanted, field):
                continue  # made by a function that is given the row
            self._field(wanted, field, schema, (*trail, schema))

    def _generic(self, wanted: Wanted, schema: type, fields: Iterable[SchemaField]) -> None:
        """Note that rows behind a generic foreign key are whole; relations of theirs cannot be loaded."""
        for field in fields:
            is_plain = all(len(source) == 1 for source in field.sources) and not field.schemas
            if not is_plain or field.rows or field.expression is not None:
                relation = wanted.relation.name if wanted.relation else ""
                raise SchemaPlanError(
                    schema.__qualname__,
                    f"{field.name!r} reads a relation of what {wanted.label}.{relation} leads to, and that "
                    "differs from row to row. Resolve it by a function that declares its needs.",
                )
        wanted.notes["all columns of each model; what its properties read of relations is not loaded"] = None

    def _field(self, wanted: Wanted, field: SchemaField, schema: type, trail: Trail) -> None:
        """Want what one field of a schema reads."""
        reader = f"{schema.__qualname__}.{field.name}"
        key = field.sources[0][0]
        if field.expression is not None or field.rows is not None:
            self._own_attribute(wanted, field, reader, key, trail)
            return
        if field.needs is not None:
            self._needs(wanted, field.needs, reader, field.schemas, trail)
            return
        if field.resolver is not None:
            self._function(wanted, field.resolver, field.schemas, trail)
            return
        sources = [source for source in field.sources if self._has(wanted, source[0])]
        if not sources:
            raise self._unknown(wanted, key, reader)
        for source in sources:
            self._path(wanted, source, reader, field, trail)
        for validator in field.validators:
            if validator.needs is not None:
                self._needs(wanted, validator.needs, validator.name)

    def _own_attribute(self, wanted: Wanted, field: SchemaField, reader: str, key: str, trail: Trail) -> None:
        """Want an annotation, or a list of some rows, under the name that the field is read by."""
        assert wanted.model is not None  # noqa: S101  # asked before
        if len(field.sources) != 1 or len(field.sources[0]) != 1:
            raise SchemaPlanError(
                reader, "a field that is made for the schema is read by one name without dots."
            )
        is_ordered_only = field.rows is not None and field.rows.is_whole_of(key)
        if attribute_of(wanted.model, key) is not None and not is_ordered_only:
            raise SchemaPlanError(
                reader, f"{key!r} is an attribute of {wanted.label} already; name it otherwise."
            )
        if field.expression is not None:
            if wanted.annotations.setdefault(key, field.expression) != field.expression:
                raise SchemaPlanError(reader, f"two expressions are called {key!r}.")
            return
        assert field.rows is not None  # noqa: S101  # asked before
        if "__" in field.rows.path or field.rows.to_attr not in {"", key}:
            raise SchemaPlanError(
                reader, f"its RelatedRows are of a relation of {wanted.label}, and held as {key!r}."
            )
        rows = field.rows if is_ordered_only else field.rows.named(key)
        below = wanted.add_rows(rows, is_whole=not field.schemas)
        for nested in field.schemas:
            self.schema(below, nested, trail)

    def _path(self, wanted: Wanted, parts: Source, reader: str, field: SchemaField, trail: Trail) -> None:
        """Want what a field reads along a path of attributes."""
        name, rest = parts[0], parts[1:]
        below = self._attribute(wanted, name, reader)
        if below is None:
            return
        relation = None if wanted.model is None else relations_of(wanted.model).get(name)
        if rest and relation is not None and relation.is_many:
            if rest[0] not in PREFETCHED or len(rest) > 1:
                raise SchemaPlanError(
                    reader,
                    f"it asks the manager {name!r} for {'.'.join(rest)!r}, which is a query for each row.",
                )
            if rest[0] != "all":
                return  # the rows are loaded by their keys, and counted
            rest = ()
        if rest:
            if below.model is None:
                below.notes[f"{reader} reads {'.'.join(rest)!r} of it"] = None
            else:
                self._path(below, rest, reader, field, trail)
            return
        if field.is_keys:
            return
        for nested in field.schemas:
            self.schema(below, nested, trail)
        unknown = [each for each in field.validators if each.needs is None]
        if unknown or not (field.schemas or field.validators):
            names = ", ".join(each.name for each in unknown) or reader
            below.whole[f"all columns: what {names} reads of the row is not declared"] = None

    def _attribute(self, wanted: Wanted, name: str, reader: str, trail: Trail = ()) -> Wanted | None:
        """Want what an attribute reads; return what is wanted of the rows that it holds, None for a value."""
        if name in wanted.below:
            return wanted.below[name]
        if wanted.model is None:
            raise self._unknown(wanted, name, reader)
        attribute = attribute_of(wanted.model, name)
        if attribute is None:
            if self._is_given(wanted, name):
                return None
            raise self._unknown(wanted, name, reader)
        if attribute.is_relation:
            return wanted.reach(name, name)
        wanted.columns.update(dict.fromkeys(attribute.columns))
        if attribute.is_computed:
            made = f"{wanted.label}.{name}"
            if made in trail:
                raise SchemaPlanError(made, "it declares that it needs itself.")
            self._function(wanted, Reader(made, attribute.needs), trail=(*trail, made))
        return None

    def _function(self, wanted: Wanted, reader: Reader, schemas: Schemas = (), trail: Trail = ()) -> None:
        """Want what a function declares, or the whole row."""
        if reader.needs is None:
            told = f"all columns: {reader.name} declares no needs; what it reads of relations is not loaded"
            wanted.whole[told] = None
        else:
            self._needs(wanted, reader.needs, reader.name, schemas, trail)

    def _needs(
        self, wanted: Wanted, needs: Needs, reader: str, schemas: Schemas = (), trail: Trail = ()
    ) -> None:
        """Want what is declared; rows at the end of a path are what the schemas of the field may be made of."""
        for path in needs.paths:
            if isinstance(path, RelatedRows):
                end: Wanted | None = wanted.add_rows(path)
            else:
                end = self._needed(wanted, path, reader, trail)
            for nested in schemas:
                if end is not None and end.model is not None and self._fits(end, nested):
                    self.schema(end, nested, trail)

    def _needed(self, wanted: Wanted, path: str, reader: str, trail: Trail) -> Wanted | None:
        """Want what a declared path leads to; return it where it is rows."""
        at = wanted
        for part in path.split("__"):
            below = self._attribute(at, part, reader, trail)
            if below is None:
                return None  # a value; what may come after it is read of the value
            at = below
        at.whole[f"all columns: {reader} needs the row"] = None
        return at

    def _fits(self, wanted: Wanted, schema: type) -> bool:
        """Tell whether rows have what a schema reads of them, so that it can be made of one."""
        return all(self._is_read(wanted, field) for field in shape_of(schema).fields)

    def _is_read(self, wanted: Wanted, field: SchemaField) -> bool:
        """Tell whether rows have what a field is read from, or made of."""
        made_of = (field.expression, field.rows, field.needs, field.resolver)
        return any(each is not None for each in made_of) or any(
            self._has(wanted, source[0]) for source in field.sources
        )

    def _has(self, wanted: Wanted, name: str) -> bool:
        if name in wanted.below or self._is_given(wanted, name) or wanted.model is None:
            return True
        return attribute_of(wanted.model, name) is not None

    def _is_given(self, wanted: Wanted, name: str) -> bool:
        return wanted.relation is None and name in self._given

    def _unknown(self, wanted: Wanted, name: str, reader: str) -> SchemaFieldError:
        names: list[Any] = [] if wanted.model is None else attributes_of(wanted.model)
        given = self._given if wanted.relation is None else ()
        return SchemaFieldError(reader, wanted.label, name, sorted({*names, *wanted.below, *given}))
