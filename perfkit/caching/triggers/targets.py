"""Which relations get triggers so that outside writes to the rows of a model are told, and what each tells.

The rows of a model are in its own table, in those of its parents and of its many-to-many relations; behind a
view, in the tables that its manager names.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from perfkit.caching.keys import kind_of
from perfkit.caching.registry import (
    DeclaredColumn,
    TrackedTable,
    owners,
    plain_table_name,
    table_name,
    tracked_tables,
)
from perfkit.caching.sources import watched_table, watched_tables
from perfkit.caching.triggers.functions import TYPES, Column, Telling, template
from perfkit.errors import TriggersUnsupportedError

OIDS_SQL: Final = "SELECT name, to_regclass(name)::oid::bigint FROM unnest(%s::text[]) AS name"
SOURCES_SQL: Final = """
SELECT c.oid::bigint, lower(c.relname), pg_table_is_visible(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND (lower(c.relname) = ANY (%s)
       OR EXISTS (SELECT FROM unnest(%s::text[]) AS stem WHERE starts_with(lower(c.relname), stem)))
"""


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation as the catalogue has it.

    Args:
        kind: `pg_class.relkind`.
        types: Of its columns, by name; empty of one whose values may be equal under different names.
        parts: The relations of all its partitions.
    """

    oid: int
    schema: str
    name: str
    kind: str
    is_temporary: bool
    is_partition: bool
    has_children: bool
    is_child: bool
    is_subscribed: bool
    types: Mapping[str, str]
    parts: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Target:
    """A table that gets triggers, and its partitions, which get the same.

    Args:
        tells: What a write to any of them is told as.
    """

    relation: Relation
    parts: tuple[Relation, ...]
    tells: Telling

    @property
    def relations(self) -> tuple[Relation, ...]:
        """The table and its partitions."""
        return (self.relation, *self.parts)


def targets_of(connection: BaseDatabaseWrapper, models: Iterable[type[Model]]) -> list[Target]:
    """Return the tables that must have triggers for outside writes to rows of `models`, in the order of names.

    Raises:
        TriggersUnsupportedError: A model is not cached, its table is missing, or is of a kind whose writes no
            trigger of a statement sees.
    """
    own: dict[int, str] = {}
    sources: set[str] = set()
    for model in models:
        if table_name(model) not in tracked_tables():
            raise TriggersUnsupportedError(model._meta.label, "is not cached, so nobody has to be told.")
        for name, oid in _own_tables(connection, model).items():
            if oid is None:
                raise TriggersUnsupportedError(model._meta.label, f"has no table {name} in this database.")
            own[oid] = model._meta.label
            sources |= _sources_of(name)
    relations = _relations(connection, own)
    for relation in relations.values():
        _require_fit(
            relation, own[relation.oid], has_sources=bool(_sources_of(plain_table_name(relation.name)))
        )
    behind = _relations(connection, _named_sources(connection, sources) - own.keys())
    relations |= {oid: each for oid, each in behind.items() if each.kind in {"r", "p", "f", "m"}}
    inner = {part for each in relations.values() for part in each.parts}
    tops = [each for each in relations.values() if each.oid not in inner and each.kind != "v"]
    for each in tops:
        _require_fit(each, own.get(each.oid, f"The table {each}"), has_sources=False)
    parts = _relations(connection, inner)
    for part in parts.values():
        if part.kind == "f":
            raise TriggersUnsupportedError(str(part), "is a partition, and a foreign table: " + FOREIGN)
        if part.is_subscribed:
            raise TriggersUnsupportedError(str(part), f"is a partition, and {SUBSCRIBED}")
    return [
        _target(each, [parts[oid] for oid in each.parts])
        for each in sorted(tops, key=lambda each: (each.schema, each.name))
    ]


def oids_of(connection: BaseDatabaseWrapper, models: Iterable[type[Model]]) -> set[int]:
    """Return every relation that holds rows of `models`, of whatever kind, as far as it is there."""
    oids: set[int] = set()
    sources: set[str] = set()
    for model in models:
        oids |= own_oids_of(connection, model)
        sources = sources.union(*[_sources_of(table_name(owner)) for owner in owners(model)])
    oids |= _named_sources(connection, sources)
    return oids.union(*[each.parts for each in _relations(connection, oids).values()])


def own_oids_of(connection: BaseDatabaseWrapper, model: type[Model]) -> set[int]:
    """Return the relations that a model's own tables, its parents' and those of its relations to many are."""
    return {oid for oid in _own_tables(connection, model).values() if oid is not None}


SUBSCRIBED: Final = (
    "is written by a subscription: keep it out of the cache in this database, or its ttl short, or replicate "
    "into a table that is not partitioned."
)
FOREIGN: Final = "what is written where its rows are cannot be seen here."


def _require_fit(relation: Relation, label: str, *, has_sources: bool) -> None:
    problem = ""
    if relation.kind == "v":
        if not has_sources:
            problem = "is a view: name what stands behind it in its CachedManager(tables=[...])."
    elif relation.kind == "f":
        problem = f"is a foreign table: {FOREIGN}"
    elif relation.kind == "m":
        problem = "is a materialised view, which can have no triggers."
    elif relation.is_temporary:
        problem = "is a temporary table, which nobody else can write."
    elif relation.is_partition:
        problem = (
            "is a partition, and a write to the table that it is a part of fires none of its triggers: "
            "install them for the model of the whole table."
        )
    elif relation.has_children or relation.is_child:
        problem = (
            "has children or parents by INHERITS, and a write under one name fires no trigger of the other."
        )
    elif relation.is_subscribed and relation.kind == "p":
        problem = f"is partitioned, and {SUBSCRIBED}"
    if problem:
        raise TriggersUnsupportedError(label, f"({relation}) {problem}")


def _target(relation: Relation, parts: list[Relation]) -> Target:
    name = plain_table_name(relation.name)
    table = watched_table(name)
    assert table is not None  # noqa: S101  # it was found by that name
    tells = Telling(
        name if "*" in table.name else table.name,
        names=tuple(sorted({relation.name, *[part.name for part in parts]})),
        is_read=table.is_read,
        pk=_column(table.pk_column, table, relation),
        declared=tuple(_declared(column, relation) for column in table.declared),
        changes=table.changes,
        cascades=table.cascades,
        is_replicated=relation.is_subscribed,
    )
    return Target(relation, tuple(parts), tells)


def _column(name: str, table: TrackedTable, relation: Relation) -> Column:
    kind = kind_of(table.to_pk)
    return Column(name, kind if kind and relation.types.get(name) in TYPES[kind] else None)


def _declared(column: DeclaredColumn, relation: Relation) -> Column:
    kind = kind_of(column.to_key)
    return Column(column.name, kind if kind and relation.types.get(column.name) in TYPES[kind] else None)


def _own_tables(connection: BaseDatabaseWrapper, model: type[Model]) -> dict[str, int | None]:
    """Return what the names of a model's tables lead to, by the names that readers have for them."""
    names = {connection.ops.quote_name(each._meta.db_table): table_name(each) for each in owners(model)}
    found = dict(_fetch(connection, OIDS_SQL, [list(names)]))
    return {name: found[quoted] for quoted, name in names.items()}


def _sources_of(name: str) -> set[str]:
    return {source for source, table in watched_tables().items() if name in table.changes}


def _named_sources(connection: BaseDatabaseWrapper, names: Collection[str]) -> set[int]:
    """Return the relations of these names; those that the search path finds hide others of the name."""
    if not names:
        return set()
    exact = [name for name in names if not name.endswith("*")]
    stems = [name[:-1] for name in names if name.endswith("*")]
    rows = _fetch(connection, SOURCES_SQL, [exact, stems])
    visible = {name for _, name, is_visible in rows if is_visible}
    return {oid for oid, name, is_visible in rows if is_visible or name not in visible}


def _relations(connection: BaseDatabaseWrapper, oids: Iterable[int]) -> dict[int, Relation]:
    wanted = sorted(oids)
    if not wanted:
        return {}
    return {each.oid: each for each in _read(connection, wanted)}


def _read(connection: BaseDatabaseWrapper, oids: list[int]) -> Iterator[Relation]:
    for row in _fetch(connection, f"{template('relations')} WHERE c.oid = ANY (%s::oid[])", [oids]):
        *plain, types, parts = row
        values = [*plain, json.loads(types), tuple(parts)]
        yield Relation(*values)


def _fetch(connection: BaseDatabaseWrapper, sql: str, params: list[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())
