"""What is read of the rows of a model and of what it is related to, gathered before a plan is made of it.

Pure: it reads models' metadata, never a database.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Model

from perfkit.errors import RelatedRowsError, RelationPathError
from perfkit.loading.related_rows import RelatedRows, refuse_name
from perfkit.loading.relations import CHILD, PARENT, Relation, relations_of

NAMED = ""
"""Why a row is wanted whole: a path names it, and no schema says which columns."""


@dataclass(slots=True, eq=False)
class Wanted:
    """What is read of the rows of one model.

    Args:
        model: None where it differs from row to row.
        label: What to call the model; that of the one above, where it differs from row to row.
        relation: What led to these rows, None for those of the queryset.
        rows: Which of them, None for all.
        columns: Names of fields.
        whole: Why all columns are wanted; empty where those named are enough.
        annotations: Expressions by their names.
        below: What is read of related rows, by the attribute that holds them.
        notes: What the plan cannot see to.
        above: What is wanted of the rows that led to these.
    """

    model: type[Model] | None
    label: str
    relation: Relation | None = None
    rows: RelatedRows | None = None
    columns: dict[str, None] = field(default_factory=dict)
    whole: dict[str, None] = field(default_factory=dict)
    annotations: dict[str, Any] = field(default_factory=dict)
    below: dict[str, Wanted] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    above: Wanted | None = None

    def __post_init__(self) -> None:
        if self.model is not None:
            self.label = self.model._meta.label

    @property
    def is_queried(self) -> bool:
        """Whether the rows take a query of their own.

        A joined row has no place for annotations, Django joins no parent's row to that of its child, and a child's
        only if all columns of both are loaded.
        """
        if self.relation is None:
            return False
        is_apart = self.relation.kind == PARENT or (self.relation.kind == CHILD and NAMED not in self.whole)
        return self.relation.is_many or bool(self.annotations) or is_apart

    def reach(self, attribute: str, path: str) -> Wanted:
        """Return what is wanted of the rows that `attribute` holds, and want them.

        Raises:
            RelationPathError: It is no relation; `path` is the whole one, for the error to tell.
        """
        if attribute in self.below:
            return self.below[attribute]
        if self.above is not None and self.relation is not None and self.relation.back == attribute != "":
            return self.above
        relations = {} if self.model is None else relations_of(self.model)
        if attribute not in relations:
            raise RelationPathError(self.label, path, attribute, sorted({*relations, *self.below}))
        relation = relations[attribute]
        self.below[attribute] = Wanted(relation.model, self.label, relation, above=self)
        return self.below[attribute]

    def add_path(self, path: str, above: str = "") -> Wanted:
        """Want whole rows of each relation along a path.

        Raises:
            RelationPathError: It leads along no relation.
        """
        at = self
        for part in path.split("__"):
            above = f"{above}__{part}" if above else part
            at = at.reach(part, above)
            at.whole[NAMED] = None
        return at

    def add_rows(self, rows: RelatedRows, above: str = "", *, is_whole: bool = True) -> Wanted:
        """Want some rows of a relation.

        Raises:
            RelationPathError: It leads along no relation.
            RelatedRowsError: It leads to one row, or others of its rows are wanted under the same name.
        """
        parents, _, name = rows.path.rpartition("__")
        told = f"{above}__{rows.path}" if above else rows.path
        parent = self.add_path(parents, above) if parents else self
        relations = {} if parent.model is None else relations_of(parent.model)
        if parent.model is None or name not in relations:
            raise RelationPathError(parent.label, told, name, sorted(relations))
        relation = relations[name]
        if not relation.is_many:
            raise RelatedRowsError(rows.path, f"{name} leads to one row; name its path alone.")
        refuse_name(parent.model, rows)
        held = parent.below.setdefault(
            rows.to_attr or name, Wanted(relation.model, parent.label, relation, above=parent)
        )
        if held.rows not in {None, rows} or held.relation != relation:
            raise RelatedRowsError(rows.path, f"{rows.to_attr or name} holds other rows already.")
        held.rows = rows
        if is_whole:
            held.whole[NAMED] = None
        held.add(rows.relations, told)
        return held

    def add(self, paths: Iterable[str | RelatedRows], above: str = "") -> None:
        """Want what paths lead to, those that name a list by its `to_attr` too, whatever their order."""
        paths = list(paths)
        for each in paths:
            if isinstance(each, RelatedRows):
                self.add_rows(each, above)
        for each in paths:
            if isinstance(each, str):
                self.add_path(each, above)


def wanted_of(model: type[Model], paths: Iterable[str | RelatedRows]) -> Wanted:
    """Return what `paths` want of the rows of `model`, these whole."""
    wanted = Wanted(model, model._meta.label)
    wanted.whole[NAMED] = None
    wanted.add(paths)
    return wanted
