"""What the names of a statement mean: the tables of each SELECT, and those around it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perfkit.indexing.advisor.expressions import column_name
from perfkit.indexing.advisor.scans import Condition, Ordering, Scan


@dataclass(eq=False, slots=True)
class Source:
    """One table, or something else, of a FROM; `columns` is empty for what is no table of the schema."""

    name: str
    table: str
    columns: Mapping[str, str]
    conditions: list[Condition] = field(default_factory=list)
    alternatives: list[tuple[tuple[Condition, ...], ...]] = field(default_factory=list)
    orderings: list[Ordering] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    reads_whole_rows: bool = False

    def scan(self) -> Scan:
        """Return what is asked of it."""
        return Scan(
            self.table,
            tuple(dict.fromkeys(self.conditions)),
            tuple(dict.fromkeys(self.alternatives)),
            tuple(dict.fromkeys(self.orderings)),
            frozenset(self.read),
            self.reads_whole_rows,
        )


@dataclass(eq=False, slots=True)
class Scope:
    """What names mean within one SELECT: its own sources, and those around it."""

    parent: Scope | None = None
    with_names: set[str] = field(default_factory=set)
    sources: list[Source] = field(default_factory=list)

    def has_with(self, name: str) -> bool:
        """Tell whether a WITH around it has given the name."""
        return name in self.with_names or (self.parent is not None and self.parent.has_with(name))

    def resolve(self, node: Any) -> tuple[Source, str, str] | None:
        """Return whose column a reference is, its name and its type."""
        column = column_name(node)
        if column is None:
            return None
        name = node.fields[-2].sval if len(node.fields) > 1 else None
        for source in self.sources:
            if name is None and column in source.columns:
                return source, column, source.columns[column]
            if name is not None and source.name == name:
                return (source, column, source.columns[column]) if column in source.columns else None
        return self.parent.resolve(node) if self.parent else None
