"""The plan of an eager load: which relations are joined, which take a query of their own, which columns are read.

Pure: it reads models' metadata, never a database.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from django.db.models import Model

from perfkit.loading.plan_text import explained
from perfkit.loading.related_rows import RelatedRows
from perfkit.loading.relations import Relation
from perfkit.loading.wanted import NAMED, Wanted, wanted_of


@dataclass(frozen=True, slots=True)
class EagerPlan:
    """How one model's relations are loaded; it can be hashed where the values in its filters can.

    Args:
        joins: Paths for `select_related`.
        queries: Per extra query: the path for `prefetch_related`, and the plan of the rows it loads
            (None where that model is not known before the rows are read).
        rows: Which rows of the relation that led here; None for all.
        relation: What led here; None for the rows of the queryset.
        only: The columns that are read, as `only` names them; None for all.
        annotations: Names and expressions for `annotate`.
        reasons: Why the columns are as they are, and what the plan cannot see to, by the path of the rows.
    """

    model: type[Model]
    joins: tuple[str, ...] = ()
    queries: tuple[tuple[str, EagerPlan | None], ...] = ()
    rows: RelatedRows | None = None
    relation: Relation | None = None
    only: tuple[str, ...] | None = None
    annotations: tuple[tuple[str, Any], ...] = ()
    reasons: tuple[tuple[str, str], ...] = ()

    @property
    def query_count(self) -> int:
        """Queries that the whole load takes at most, the first included."""
        return 1 + sum(1 if below is None else below.query_count for _, below in self.queries)

    @property
    def is_trivial(self) -> bool:
        """Whether the rows are loaded as they would be without a plan."""
        parts = (self.joins, self.queries, self.rows, self.annotations)
        return not any(parts) and self.only is None

    def with_all_columns(self) -> EagerPlan:
        """Return the same plan, which reads all columns."""
        queries = tuple((path, below and below.with_all_columns()) for path, below in self.queries)
        return replace(self, queries=queries, only=None)

    def explain(self) -> str:
        """Return the plan as text: for each step what is done, why, and which columns are read."""
        return "\n".join(explained(self))

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self, indent: str = "") -> list[str]:
        """Return the plan as text, one line a step, those below indented."""
        lines = [f"{indent}{self.model._meta.label}"]
        lines += [f"{indent}  join {path}" for path in self.joins]
        for path, below in self.queries:
            chosen = f" ({below.rows.told()})" if below and below.rows and below.rows.told() else ""
            lines.append(f"{indent}  query {path}{chosen}")
            if below is not None:
                lines += below.lines(indent + "    ")
        return lines


def plan_for(model: type[Model], paths: tuple[str | RelatedRows, ...]) -> EagerPlan:
    """Return the plan that loads `paths` (double-underscored accessor names) from `model`.

    Cached by its arguments, unless one has a filter or an expression: a value in it may be anyone's.

    Raises:
        RelationPathError: A path names something that is no relation; it tells the nearest right name.
        RelatedRowsError: Rows are asked for in a way that cannot be.
    """
    if all(isinstance(path, str) or path.is_fixed for path in paths):
        return _kept_plan(model, paths)
    return plan_of(wanted_of(model, paths))


@lru_cache(maxsize=1024)
def _kept_plan(model: type[Model], paths: tuple[str | RelatedRows, ...]) -> EagerPlan:
    return plan_of(wanted_of(model, paths))


def plan_of(wanted: Wanted) -> EagerPlan:
    """Return the plan that loads what is wanted of a model's rows."""
    assert wanted.model is not None  # noqa: S101  # a generic foreign key has no plan below it
    joins: list[str] = []
    queries: list[tuple[str, EagerPlan | None]] = []
    reasons: list[tuple[str, str]] = []
    joined: list[tuple[tuple[str, ...], Wanted]] = [((), wanted)]

    def walk(at: Wanted, prefix: tuple[str, ...], walked: tuple[str, ...]) -> None:
        told = "__".join(walked)
        reasons.extend((told, reason) for reason in (*at.whole, *at.notes) if reason != NAMED)
        for attribute, below in at.below.items():
            relation = below.relation
            assert relation is not None  # noqa: S101  # what is below has been led to
            here = "__".join((*walked, relation.name))
            if below.model is None:
                queries.append((here, None))
                reasons.extend((here, note) for note in below.notes)
            elif below.is_queried:
                queries.append((here, plan_of(below)))
            else:
                path = (*prefix, relation.join_name)
                joins.append("__".join(path))
                joined.append((path, below))
                walk(below, path, (*walked, attribute))

    walk(wanted, (), ())
    only = None
    if not all(NAMED in each.whole for _, each in joined):  # else as their managers load them
        only = tuple("__".join((*path, name)) for path, each in joined for name in _columns(each))
    return EagerPlan(
        model=wanted.model,
        joins=tuple(joins),
        queries=tuple(queries),
        rows=wanted.rows,
        relation=wanted.relation,
        only=only,
        annotations=tuple(wanted.annotations.items()),
        reasons=tuple(reasons),
    )


def _columns(wanted: Wanted) -> Iterator[str]:
    """Yield the fields that are loaded of these rows: what is read, the key, and what relations go by."""
    assert wanted.model is not None  # noqa: S101
    opts = wanted.model._meta
    concrete = [field.name for field in opts.concrete_fields]
    if wanted.whole:
        yield from concrete
        return
    needed = {*wanted.columns, *(field.name for field in opts.pk_fields)}
    if wanted.relation is not None and wanted.is_queried:
        needed.update(wanted.relation.their_columns)
    for below in wanted.below.values():
        if below.relation is not None:
            needed.update(below.relation.own_columns)
    yield from (name for name in concrete if name in needed)
