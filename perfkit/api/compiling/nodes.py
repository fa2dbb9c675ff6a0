"""What an answer is made of: which columns of which rows, under which names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from django.db.models import Model

from perfkit.api.compiling.kinds import Kind
from perfkit.loading.related_rows import RelatedRows


class NotCompiledError(Exception):
    """A schema, or a queryset, is answered the long way; the text says why. It never leaves this room."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A field that shows one column.

    Args:
        name: As the answer has it.
        path: As `values_list()` takes it, from the rows of the node that it stands in.
    """

    name: str
    path: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class One:
    """A field that shows a row that a foreign key leads to.

    Args:
        key_path: The column that is NULL where there is none; empty where there always is one.
    """

    name: str
    node: Node
    key_path: str


@dataclass(frozen=True, slots=True)
class Many:
    """A field that shows the rows of a relation to many.

    Args:
        node: Of each.
        model: Of the rows.
        parent: The model that has the relation.
        lookup: The path by which these rows know whose they are.
        key_path: Of the row above, the column that it goes by.
        chosen: Which of the rows, in what order; None for all as they come.
    """

    name: str
    node: Node
    model: type[Model]
    parent: type[Model]
    lookup: str
    key_path: str
    chosen: RelatedRows | None


@dataclass(frozen=True, eq=False)
class Node:
    """What is shown of a row, in the order of the schema's fields."""

    fields: tuple[Leaf | One | Many, ...]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The paths of all columns that are read, each once."""
        return tuple(dict.fromkeys([*(leaf.path for leaf in self.leaves()), *self.keys()]))

    @cached_property
    def manys(self) -> tuple[Many, ...]:
        """The fields that show several rows, those of rows to which keys lead included."""
        return tuple(self._manys())

    def leaves(self) -> Iterator[Leaf]:
        """Yield the fields that show columns, those of rows to which keys lead included."""
        for field in self.fields:
            if isinstance(field, Leaf):
                yield field
            elif isinstance(field, One):
                yield from field.node.leaves()

    def _manys(self) -> Iterator[Many]:
        for field in self.fields:
            if isinstance(field, Many):
                yield field
            elif isinstance(field, One):
                yield from field.node.manys

    def keys(self) -> Iterator[str]:
        """Yield the columns that say whether there is a row, and whose rows several are."""
        for field in self.fields:
            if isinstance(field, One):
                if field.key_path:
                    yield field.key_path
                yield from field.node.keys()
            elif isinstance(field, Many):
                yield field.key_path


@lru_cache(maxsize=512)
def pruned(node: Node, wanted: tuple[tuple[str, ...], ...]) -> Node:
    """Return a node with only the fields that are asked for, in the order of the schema.

    Args:
        wanted: Paths of names; one that ends at a row has all of its fields.
    """
    heads: dict[str, list[tuple[str, ...]]] = {}
    for head, *rest in wanted:
        heads.setdefault(head, []).append(tuple(rest))
    kept: list[Leaf | One | Many] = []
    for field in node.fields:
        rests = heads.get(field.name)
        if rests is None:
            continue
        kept.append(
            field
            if isinstance(field, Leaf) or () in rests
            else replace(field, node=pruned(field.node, tuple(rests)))
        )
    return Node(tuple(kept))
