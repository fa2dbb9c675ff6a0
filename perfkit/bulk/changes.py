"""How the rows of an update say what changes: pairs of a key and its new values, or instances. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from django.db import models

from perfkit.bulk.plan import Batch, RowPlan
from perfkit.bulk.refusals import RowDataError, summary
from perfkit.bulk.shapes import InstanceShape, Values, related_id, tuple_getter
from perfkit.errors import RowShapeError, UsageError, nearest

Update = tuple[Any, Mapping[str, Any]] | models.Model
"""`(pk, {field: value})`, or an instance whose fields are named once for all."""


class ChangeReader:
    """Reads the rows of one call into batches whose first columns are the primary key, found and not changed.

    Args:
        fields: Those that instances change; None where the rows are pairs.

    Raises:
        UsageError: A field is named that the model has not, or that an update cannot change.
    """

    def __init__(self, plan: RowPlan, fields: Sequence[str] | None) -> None:
        self.plan = plan
        self.key = plan.pk_columns
        self._clocks = [
            place
            for place, column in enumerate(plan.columns)
            if column.has_clock and getattr(column.field, "auto_now", False)
        ]
        self._fields = None if fields is None else [plan.columns[place] for place in self._named(fields)]
        self._saved = None if self._fields is None else InstanceShape(self._fields, is_new=False)

    def read(self, rows: Sequence[Update], *, first_row: int) -> list[Batch]:
        """Return what `rows`, consecutive ones of the input, change; rows that name nothing are left out.

        Raises:
            RowShapeError: A row is neither a pair nor an instance, or names what is no field.
            RowDataError: A row has no key, or refers to an instance that is not saved.
        """
        numbers = range(first_row, first_row + len(rows))
        if self._saved is not None:
            return [self._instances(rows, numbers, self._saved)]
        if self._are_alike(rows):
            return self._pairs(rows, numbers)  # type: ignore[arg-type]  # as was just seen
        groups: dict[frozenset[str], list[int]] = {}
        for at, (row, number) in enumerate(zip(rows, numbers, strict=True)):
            groups.setdefault(frozenset(self._pair(row, number)[1]), []).append(at)
        return [
            batch
            for positions in groups.values()
            for batch in self._pairs([rows[at] for at in positions], [numbers[at] for at in positions])  # type: ignore[misc]  # pairs
        ]

    def _named(self, fields: Sequence[str]) -> list[int]:
        if isinstance(fields, str) or not fields:
            raise UsageError("fields must name at least one field, as in fields=['name'].")
        places = []
        for name in fields:
            place = self.plan.places.get(name)
            if place is None or self.plan.columns[place] in self.key:
                known = [each.field.name for each in self.plan.columns if each not in self.key]
                raise UsageError(
                    f"fields names {name!r}, which bulk_update cannot change in {self.plan.label}."
                    f"{nearest(name, known)}"
                )
            places.append(place)
        return list(dict.fromkeys([*places, *self._clocks]))

    @staticmethod
    def _are_alike(rows: Sequence[Any]) -> bool:
        """Tell, without looking at each row by itself, whether all are pairs that name the same fields."""
        if set(map(type, rows)) != {tuple} or set(map(len, rows)) != {2}:
            return False
        given = [row[1] for row in rows]
        if set(map(type, given)) != {dict}:
            return False
        return len(set(map(frozenset, given))) == 1

    def _pairs(self, rows: Sequence[tuple[Any, Mapping[str, Any]]], numbers: Sequence[int]) -> list[Batch]:
        """Return the batch of pairs that name the same fields; none where they name none."""
        names = tuple(rows[0][1])
        if not names:
            return []
        places = self._places(names, numbers[0])
        keys = self._key_values([key for key, _ in rows], numbers)
        columns = [self.plan.columns[place] for place in places]
        values: list[Values] = list(zip(*map(tuple_getter(names), (given for _, given in rows)), strict=True))
        for at, (name, column) in enumerate(zip(names, columns, strict=True)):
            field = column.field
            if field.is_relation and name == field.name != field.attname:
                values[at] = [
                    related_id(field, value, number)
                    for value, number in zip(values[at], numbers, strict=True)
                ]
        for place in self._clocks:
            if place not in places:
                column = self.plan.columns[place]
                columns.append(column)
                values.append([column.field.pre_save(SimpleNamespace(), add=False) for _ in rows])  # type: ignore[arg-type]
        return [Batch(numbers, [*self.key, *columns], [*keys, *values])]

    def _pair(self, row: object, number: int) -> tuple[Any, Mapping[str, Any]]:
        if not isinstance(row, tuple | list) or len(row) != 2 or not isinstance(row[1], Mapping):  # noqa: PLR2004  # a pair
            problem = f"must be a pair (pk, {{field: value}}), not {summary(row)}."
            if isinstance(row, models.Model):
                problem = "is an instance: say with fields=[…] what it changes."
            raise RowShapeError(self.plan.label, number, problem)
        key, given = row
        self._places(given, number)
        return key, given

    def _places(self, names: Iterable[object], number: int) -> list[int]:
        places: list[int] = []
        for name in names:
            place = self._place(name, number)
            if place in places:
                raise RowShapeError(
                    self.plan.label, number, f"gives {self.plan.columns[place].field.name!r} twice."
                )
            places.append(place)
        return places

    def _place(self, name: object, number: int) -> int:
        place = self.plan.places.get(name) if isinstance(name, str) else None
        if place is None:
            if name in self.plan.places:
                raise RowShapeError(
                    self.plan.label, number, f"changes {name!r}, which the database computes."
                )
            hint = nearest(str(name), list(self.plan.places))
            raise RowShapeError(self.plan.label, number, f"has the unknown key {name!r}.{hint}")
        if self.plan.columns[place] in self.key:
            raise RowShapeError(self.plan.label, number, "changes the primary key, by which it is found.")
        return place

    def _instances(self, rows: Sequence[Any], numbers: Sequence[int], shape: InstanceShape) -> Batch:
        for row, number in zip(rows, numbers, strict=True):
            if not isinstance(row, models.Model):
                problem = f"must be an instance, for fields is given, not {summary(row)}."
                raise RowShapeError(self.plan.label, number, problem)
            if row._meta.concrete_model is not self.plan.model._meta.concrete_model:
                raise RowShapeError(self.plan.label, number, f"is a {row._meta.label}.")
        keys = self._key_values([row.pk for row in rows], numbers)
        return Batch(numbers, [*self.key, *shape.columns], [*keys, *shape.read(rows, numbers)])

    def _key_values(self, keys: Sequence[Any], numbers: Sequence[int]) -> list[Values]:
        """Return the keys of the rows, one sequence for each part."""
        parts = len(self.key)
        if parts == 1:
            values: list[Values] = [keys]
        else:
            for key, number in zip(keys, numbers, strict=True):
                if not isinstance(key, tuple | list) or len(key) != parts:
                    problem = f"must have a key of {parts} parts, not {summary(key)}."
                    raise RowShapeError(self.plan.label, number, problem)
            values = list(zip(*keys, strict=True))
        for column, part in zip(self.key, values, strict=True):
            if None in part:
                raise RowDataError(numbers[part.index(None)], column.field.name, "the key is None.")
        return values
