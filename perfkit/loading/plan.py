"""The plan of an eager load: which relation paths are joined, which take a query of their own.

Pure: it reads models' metadata, never a database.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.db.models import Model

from perfkit.errors import RelationPathError

Tree = dict[str, Any]
"""Paths folded by their first parts: `{"reports": {"author": {}}}`."""


@dataclass(frozen=True, slots=True)
class Relation:
    """One hop of a path.

    Args:
        name: The attribute on the instance (accessor).
        join_name: What `select_related` calls it.
        model: The model at its other end, or None where it differs from row to row (a generic foreign key).
        is_many: It leads to any number of rows.
    """

    name: str
    join_name: str
    model: type[Model] | None
    is_many: bool


@dataclass(frozen=True, slots=True)
class EagerPlan:
    """How one model's relations are loaded.

    Args:
        joins: Paths for `select_related`.
        queries: Per extra query: the path for `prefetch_related`, and the plan of the rows it loads
            (None where that model is not known before the rows are read).
    """

    model: type[Model]
    joins: tuple[str, ...] = ()
    queries: tuple[tuple[str, EagerPlan | None], ...] = field(default=())

    @property
    def query_count(self) -> int:
        """Queries that the whole load takes at most, the first included."""
        return 1 + sum(1 if below is None else below.query_count for _, below in self.queries)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self, indent: str = "") -> list[str]:
        """Return the plan as text, one line a step, those below indented."""
        lines = [f"{indent}{self.model._meta.label}"]
        lines += [f"{indent}  join {path}" for path in self.joins]
        for path, below in self.queries:
            lines.append(f"{indent}  query {path}")
            if below is not None:
                lines += below.lines(indent + "    ")
        return lines


def relations_of(model: type[Model]) -> dict[str, Relation]:
    """Return every relation of `model` by the name of its attribute."""
    found: dict[str, Relation] = {}
    for relation in model._meta.get_fields():
        if not relation.is_relation:
            continue
        related = relation.related_model
        if related is None:  # a generic foreign key
            found[relation.name] = Relation(relation.name, relation.name, None, is_many=False)
            continue
        is_many = bool(relation.one_to_many or relation.many_to_many)
        is_reverse = relation.auto_created and not relation.concrete
        name = relation.get_accessor_name() if is_reverse else relation.name  # type: ignore[union-attr]
        if not name or name.endswith("+"):
            continue  # a hidden reverse side
        join_name = relation.field.related_query_name() if is_reverse else relation.name  # type: ignore[union-attr]
        found[name] = Relation(name, join_name, related._meta.model, is_many)
    return found


@lru_cache(maxsize=1024)
def plan_for(model: type[Model], paths: tuple[str, ...]) -> EagerPlan:
    """Return the plan that loads `paths` (double-underscored accessor names) from `model`.

    Cached by its arguments.

    Raises:
        RelationPathError: A path names something that is no relation; it tells the nearest right name.
    """
    return _plan(model, _tree(paths))


def _tree(paths: Iterable[str]) -> Tree:
    """Fold `["a__b", "a__c"]` into `{"a": {"b": {}, "c": {}}}`, in order."""
    root: Tree = {}
    for path in paths:
        node = root
        for part in path.split("__"):
            node = node.setdefault(part, {})
    return root


def _plan(model: type[Model], tree: Tree, above: tuple[str, ...] = ()) -> EagerPlan:
    """Plan the relations in `tree`; `above` is the path that led to `model`, for errors to tell."""
    joins: list[str] = []
    queries: list[tuple[str, EagerPlan | None]] = []

    def walk(at: type[Model], subtree: Tree, joined: tuple[str, ...], walked: tuple[str, ...]) -> None:
        relations = relations_of(at)
        for part, below in subtree.items():
            here = (*walked, part)
            relation = relations.get(part)
            if relation is None:
                raise RelationPathError(at._meta.label, "__".join((*above, *here)), part, sorted(relations))
            if relation.model is None:
                if below:
                    unknown = next(iter(below))
                    raise RelationPathError(at._meta.label, "__".join((*above, *here, unknown)), unknown, [])
                queries.append(("__".join(here), None))
            elif relation.is_many:
                queries.append(("__".join(here), _plan(relation.model, below, (*above, *here))))
            else:
                path = (*joined, relation.join_name)
                joins.append("__".join(path))
                walk(relation.model, below, path, here)

    walk(model, tree, (), ())
    return EagerPlan(model, tuple(joins), tuple(queries))
