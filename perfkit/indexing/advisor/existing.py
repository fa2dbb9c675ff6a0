"""Indexes that a table has, in the same words as those that are thought of, to be compared. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from perfkit.indexing.advisor.conditions import ConditionReader, conjuncts
from perfkit.indexing.advisor.expressions import column_name, write
from perfkit.indexing.advisor.grammar import RawStream, SortByDir, SortByNulls, ast
from perfkit.indexing.advisor.parsing import parse
from perfkit.indexing.advisor.specs import BTREE, IndexSpec, Key


@dataclass(frozen=True, slots=True)
class ExistingIndex:
    """An index that is there."""

    name: str
    spec: IndexSpec
    is_valid: bool = True
    is_primary: bool = False
    backs_constraint: bool = False

    @classmethod
    def of_key(cls, table: str, columns: tuple[str, ...]) -> ExistingIndex:
        """Return the primary key of a table that needs no index of its own for it."""
        spec = IndexSpec(table, tuple(Key(name) for name in columns), is_unique=True)
        return cls("", spec, is_primary=True, backs_constraint=True)


def existing_index(table: str, types: Mapping[str, str], row: Sequence[Any]) -> ExistingIndex:
    """Return an index from a row: name, CREATE INDEX, and whether it is valid, unique, primary, a constraint's."""
    name, definition, is_valid, is_unique, is_primary, backs_constraint = row
    spec = spec_of(definition, table, types, is_unique=is_unique)
    return ExistingIndex(name, spec, is_valid, is_primary, backs_constraint)


def spec_of(definition: str, table: str, types: Mapping[str, str], *, is_unique: bool = False) -> IndexSpec:
    """Return what a CREATE INDEX makes; one that cannot be read has no keys, and so equals none."""
    (statement,) = parse(definition) or (None,)
    if not isinstance(statement, ast.IndexStmt):
        return IndexSpec(table, (), is_unique=is_unique, method="unknown")
    source: Any = object()

    def resolve(node: Any) -> tuple[Any, str, str] | None:
        column = column_name(node)
        return (source, column, types[column]) if column is not None and column in types else None

    return IndexSpec(
        table,
        tuple(_key(each, resolve) for each in statement.indexParams or ()),
        tuple(each.name for each in statement.indexIncludingParams or ()),
        _condition(statement.whereClause, resolve, source),
        statement.accessMethod or BTREE,
        is_unique or bool(statement.unique),
    )


def names_of(
    statement: str, table: str, types: Mapping[str, str], indexes: Iterable[ExistingIndex]
) -> list[str]:
    """Return the names of the valid indexes that are what a CREATE INDEX makes; they may be unique as well."""
    wanted = spec_of(statement, table, types)
    return sorted(
        each.name
        for each in indexes
        if wanted.keys and each.is_valid and replace(each.spec, is_unique=wanted.is_unique) == wanted
    )


def _key(node: Any, resolve: Any) -> Key:
    descending = node.ordering == SortByDir.SORTBY_DESC
    default = node.nulls_ordering == SortByNulls.SORTBY_NULLS_DEFAULT
    nulls_first = None if default else node.nulls_ordering == SortByNulls.SORTBY_NULLS_FIRST
    operator_class = node.opclass[-1].sval if node.opclass else ""
    if node.name and not node.collation:
        return Key(node.name, operator_class=operator_class, descending=descending, nulls_first=nulls_first)
    written = write(node.expr, resolve) if node.expr is not None and not node.collation else None
    if written is not None and not written.is_column:
        text = written.bare
    else:
        text = RawStream()(node.expr) if node.expr is not None else node.name
        text += f" COLLATE {RawStream()(node.collation)}" if node.collation else ""
    return Key(
        text,
        is_expression=True,
        operator_class=operator_class,
        descending=descending,
        nulls_first=nulls_first,
    )


def _condition(node: Any, resolve: Any, source: object) -> str:
    """Return the condition of a partial index as candidates have it, where it is one of those."""
    if node is None:
        return ""
    reader = ConditionReader(resolve, frozenset({source}))
    texts = [found[0][1].text for found in map(reader.read, conjuncts(node)) if len(found) == 1]
    if len(texts) == len(conjuncts(node)) and all(texts):
        return together(texts)
    return RawStream()(node)


def together(texts: list[str]) -> str:
    """Return conditions joined by AND, in one order whatever theirs is."""
    texts = sorted(set(texts))
    return texts[0] if len(texts) == 1 else f"({' AND '.join(texts)})"


def covers(there: IndexSpec, wanted: IndexSpec) -> bool:
    """Whether one index does all that another would: it is the same, or begins with it."""
    if not there.keys or there.method != wanted.method or there.condition != wanted.condition:
        return False
    if wanted.is_unique and (not there.is_unique or there.keys != wanted.keys):
        return False
    carried = {key.text for key in there.keys} | set(there.include)
    if not set(wanted.include) <= carried:
        return False
    if there.method != BTREE:
        return {(key.text, key.operator_class) for key in wanted.keys} <= {
            (key.text, key.operator_class) for key in there.keys
        }
    if len(there.keys) < len(wanted.keys):
        return False
    pairs = list(zip(there.keys, wanted.keys, strict=False))
    return any(
        all(
            one.text == other.text
            and one.is_expression == other.is_expression
            and one.operator_class == other.operator_class
            and (one.descending != backward) == other.descending
            and (_nulls_first(one) != backward) == _nulls_first(other)
            for one, other in pairs
        )
        for backward in (False, True)
    )


def _nulls_first(key: Key) -> bool:
    return key.descending if key.nulls_first is None else key.nulls_first
