"""How the rows of an update say what changes: pairs of a key and its new values, or instances. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

from django.db import models

from perfkit.bulk.plan import RowPlan
from perfkit.bulk.refusals import RowDataError, summary
from perfkit.bulk.shapes import REFUSED_VALUE, Column, Values, related_id
from perfkit.errors import RowShapeError, UsageError, nearest

Update = tuple[Any, Mapping[str, Any]] | models.Model
"""`(pk, {field: value})`, or an instance whose fields are named once for all."""


class Change(NamedTuple):
    """What one row changes.

    Args:
        number: Its position in the input.
        key: Of the row in the table.
        values: By the place of their columns in the plan.
    """

    number: int
    key: Any
    values: dict[int, Any]


@dataclass(frozen=True)
class Changes:
    """Rows that change the same columns, of different keys.

    Attributes:
        numbers: Each row's position in the input.
        values: One sequence per column, each as long as `numbers`.
    """

    numbers: Sequence[int]
    keys: Values
    columns: Sequence[Column]
    values: Sequence[Values]


class ChangeReader:
    """Reads the rows of one call.

    Args:
        fields: Those that instances change; None where the rows are pairs.

    Raises:
        UsageError: A field is named that the model has not, or that an update cannot change.
    """

    def __init__(self, plan: RowPlan, fields: Sequence[str] | None) -> None:
        self.plan = plan
        self._clocks = [
            place
            for place, column in enumerate(plan.columns)
            if column.has_clock and getattr(column.field, "auto_now", False)
        ]
        self._fields = None if fields is None else self._named(fields)

    def read(self, rows: Iterable[Update], *, first_row: int) -> list[Change]:
        """Return what `rows`, consecutive ones of the input, change; rows that name nothing are left out.

        Raises:
            RowShapeError: A row is neither a pair nor an instance, or names what is no field.
            RowDataError: A row has no key, or refers to an instance that is not saved.
        """
        read = self._pair if self._fields is None else self._instance
        changes = (read(row, number) for number, row in enumerate(rows, first_row))
        return [change for change in changes if change.values]

    def _named(self, fields: Sequence[str]) -> list[int]:
        if isinstance(fields, str) or not fields:
            raise UsageError("fields must name at least one field, as in fields=['name'].")
        places = []
        for name in fields:
            place = self.plan.places.get(name)
            if place is None or self.plan.columns[place] is self.plan.pk:
                known = [each.field.name for each in self.plan.columns if each is not self.plan.pk]
                raise UsageError(
                    f"fields names {name!r}, which bulk_update cannot change in {self.plan.label}."
                    f"{nearest(name, known)}"
                )
            places.append(place)
        return list(dict.fromkeys([*places, *self._clocks]))

    def _pair(self, row: object, number: int) -> Change:
        if not isinstance(row, tuple | list) or len(row) != 2 or not isinstance(row[1], Mapping):  # noqa: PLR2004  # a pair
            problem = f"must be a pair (pk, {{field: value}}), not {summary(row)}."
            if isinstance(row, models.Model):
                problem = "is an instance: say with fields=[…] what it changes."
            raise RowShapeError(self.plan.label, number, problem)
        key, given = row
        values: dict[int, Any] = {}
        for name, value in given.items():
            place = self._place(name, number)
            if place in values:
                raise RowShapeError(
                    self.plan.label, number, f"gives {self.plan.columns[place].field.name!r} twice."
                )
            field = self.plan.columns[place].field
            is_related = field.is_relation and name == field.name != field.attname
            values[place] = related_id(field, value, number) if is_related else value
        if values:
            for place in self._clocks:
                if place not in values:
                    values[place] = self.plan.columns[place].field.pre_save(SimpleNamespace(), add=False)  # type: ignore[arg-type]
        return Change(number, self._key(key, number), values)

    def _place(self, name: object, number: int) -> int:
        place = self.plan.places.get(name) if isinstance(name, str) else None
        if place is None:
            if name in self.plan.places:
                raise RowShapeError(
                    self.plan.label, number, f"changes {name!r}, which the database computes."
                )
            hint = nearest(str(name), list(self.plan.places))
            raise RowShapeError(self.plan.label, number, f"has the unknown key {name!r}.{hint}")
        if self.plan.columns[place] is self.plan.pk:
            raise RowShapeError(self.plan.label, number, "changes the primary key, by which it is found.")
        return place

    def _instance(self, row: object, number: int) -> Change:
        if not isinstance(row, models.Model):
            raise RowShapeError(
                self.plan.label, number, f"must be an instance, for fields is given, not {summary(row)}."
            )
        if row._meta.concrete_model is not self.plan.model._meta.concrete_model:
            raise RowShapeError(self.plan.label, number, f"is a {row._meta.label}.")
        assert self._fields is not None  # noqa: S101  # else the rows are pairs
        if row._state.fields_cache:
            named = [self.plan.columns[place].field for place in self._fields]
            try:
                row._prepare_related_fields_for_save(operation_name="bulk_update", fields=named)  # type: ignore[attr-defined]  # noqa: SLF001  # as Django's bulk_update does
            except ValueError as error:  # Django's text names the relation, no value
                raise RowDataError(number, None, str(error)) from None
        values = {place: self._saved(self.plan.columns[place], row, number) for place in self._fields}
        return Change(number, self._key(row.pk, number), values)

    def _saved(self, column: Column, instance: models.Model, number: int) -> Any:
        """Return what `save` would send; `pre_save` may change the instance, as in Django."""
        try:
            return column.field.pre_save(instance, add=False)
        except REFUSED_VALUE as error:
            problem = f"its pre_save raised {type(error).__name__}."
            raise RowDataError(number, column.field.name, problem) from None

    def _key(self, key: Any, number: int) -> Any:
        if key is None:
            raise RowDataError(number, self.plan.pk.field.name if self.plan.pk else None, "the key is None.")
        return key


def in_turns(changes: Sequence[Change], keys: Values) -> list[list[Change]]:
    """Divide changes so that no key comes twice in one part, and equal keys come in their order.

    Args:
        keys: Those of the changes, prepared, so that equal ones name one row; the parts have them.
    """
    turns: list[list[Change]] = []
    seen: dict[Any, int] = {}
    for change, key in zip(changes, keys, strict=True):
        turn = seen.get(key, 0)
        seen[key] = turn + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(Change(change.number, key, change.values))
    return turns


def grouped(plan: RowPlan, changes: Iterable[Change]) -> Iterator[Changes]:
    """Yield the changes of different keys by the columns that they change."""
    groups: dict[tuple[int, ...], list[Change]] = {}
    for change in changes:
        groups.setdefault(tuple(sorted(change.values)), []).append(change)
    for places, group in groups.items():
        yield Changes(
            numbers=[change.number for change in group],
            keys=[change.key for change in group],
            columns=[plan.columns[place] for place in places],
            values=[[change.values[place] for change in group] for place in places],
        )
