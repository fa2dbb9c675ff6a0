"""The row plan of a model: which columns a row fills, and where each value comes from. Pure.

A plan is compiled once per model, and one shape per set of keys that its rows came with.
Rows are turned into columns, so that a whole column is checked at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress, groupby
from typing import Any, Final

from django.db import models
from django.db.models.expressions import DatabaseDefault

from perfkit.bulk.fields import has_clock, is_plain, saves_itself
from perfkit.bulk.refusals import RowDataError, summary
from perfkit.bulk.shapes import (
    REFUSED_VALUE,
    Column,
    DictShape,
    InstanceShape,
    ObjectShape,
    Row,
    TupleShape,
    Values,
    field_names,
)
from perfkit.errors import RowShapeError, UnsupportedModelError, UsageError, nearest

SHAPES_KEPT: Final = 256
"""Beyond so many sets of keys of one model, shapes are compiled anew, so that odd input cannot fill the memory."""


@dataclass(frozen=True)
class UnreadableRow:
    """Stands for a row that its source could not make out; whoever writes rows refuses it as a RowDataError.

    Attributes:
        problem: What is wrong, without any value.
        field: The name of the field, None where it is not one alone.
        value_summary: The type and size of the value at fault, None where it is not one alone.
    """

    problem: str
    field: str | None = None
    value_summary: str | None = None


@dataclass(frozen=True)
class Batch:
    """Rows that fill the same columns.

    Attributes:
        numbers: Each row's position in the input.
        columns: What is filled.
        values: One sequence per column, each as long as `numbers`.
    """

    numbers: Sequence[int]
    columns: Sequence[Column]
    values: Sequence[Values]


class RowPlan:
    """What is known of a model before any row is read; see `require_table` for which.

    Args:
        tuple_names: The names of the fields of rows that are plain tuples.

    Raises:
        UsageError: A name is that of no field, or comes twice.
    """

    def __init__(self, model: type[models.Model], tuple_names: tuple[str, ...] | None = None) -> None:
        self.model = model
        self.label = model._meta.label
        fields = model._meta.concrete_fields
        self.columns = tuple(_column(model, each) for each in fields if not each.generated)
        self.pk = next((each for each in self.columns if each.field is model._meta.pk), None)
        self.pk_columns = tuple(each for each in self.columns if each.field in model._meta.pk_fields)
        self.refers_to_itself = any(
            each.field.is_relation
            and each.field.related_model._meta.concrete_model is model._meta.concrete_model  # type: ignore[union-attr]
            for each in self.columns
        )
        self.unique_sets = _unique_sets(self)
        self.is_over_several_tables = is_over_several_tables(model)
        self.needs_instances = any(each.saves_itself for each in self.columns)
        self.instances = InstanceShape(self.columns)
        self._omittable = [place for place, each in enumerate(self.columns) if each.is_omittable]
        self.places = self._places_by_key()
        self._shapes: dict[tuple[Any, ...], DictShape] = {}
        self._tuple_names = tuple_names
        if tuple_names is not None:
            try:
                self._shape_of(tuple_names, 0)  # as long as a row
            except RowShapeError as error:
                raise UsageError(f"fields of {self.label}: it {error.problem}") from None

    def batches(self, rows: Sequence[Row], *, first_row: int) -> list[Batch]:
        """Turn `rows` into columns, in as few batches as there are sets of filled columns.

        Args:
            rows: Consecutive rows of the input, at least one.
            first_row: The position of the first of them.

        Raises:
            RowShapeError: A row is neither a mapping nor an instance of the model, or has a wrong key.
            RowDataError: A row refers to an instance that is not saved.
        """
        if self.needs_instances:
            rows = self.as_instances(rows, first_row=first_row)
        numbers = range(first_row, first_row + len(rows))
        shape = self._shape_of(rows[0], first_row)
        if shape is self.instances and set(map(type, rows)) == {type(rows[0])}:
            return list(self._by_filled(shape.read(rows, numbers), numbers))
        if isinstance(shape, DictShape) and shape.matches(rows):
            try:
                return list(self._by_filled(shape.read(rows, numbers), numbers))
            except KeyError:  # as many keys, but others
                pass
        return list(self._by_filled(self._read_each(rows, numbers), numbers))

    def _read_each(self, rows: Sequence[Row], numbers: Sequence[int]) -> list[Values]:
        """Return the values by column of rows of several shapes, in the order of the rows."""
        groups: dict[DictShape | InstanceShape, list[int]] = {}
        for position, row in enumerate(rows):
            groups.setdefault(self._shape_of(row, numbers[position]), []).append(position)
        if len(groups) == 1:
            (shape,) = groups
            return shape.read(rows, numbers)
        merged: list[list[object]] = [[None] * len(rows) for _ in self.columns]
        for shape, positions in groups.items():
            read = shape.read([rows[each] for each in positions], [numbers[each] for each in positions])
            for column, values in zip(merged, read, strict=True):
                for position, value in zip(positions, values, strict=True):
                    column[position] = value
        return list(merged)

    def as_instances(self, rows: Sequence[Row], *, first_row: int) -> list[models.Model]:
        """Return `rows` as instances of the model; what is one already is not copied.

        Raises:
            RowShapeError: As `batches`.
            RowDataError: The model's constructor refuses a row.
        """
        instances: list[models.Model] = []
        for number, row in enumerate(rows, first_row):
            shape = self._shape_of(row, number)
            if isinstance(row, models.Model):
                instances.append(row)
                continue
            assert isinstance(shape, DictShape)  # noqa: S101  # of what is not an instance
            try:
                instances.append(self.model(**shape.written(row)))
            except REFUSED_VALUE as error:
                problem = f"{self.label}(…) raised {type(error).__name__}."
                raise RowDataError(number, None, problem) from None
        return instances

    def given(self, row: Row, number: int) -> tuple[int, ...]:
        """Return the places of the columns that `row` gives a value: of an instance, all.

        Raises:
            RowShapeError: As `batches`.
        """
        return self._shape_of(row, number).given

    def has_instances(self, rows: Sequence[Row]) -> bool:
        """Tell whether any of `rows` is an instance."""
        return any(issubclass(kind, models.Model) for kind in set(map(type, rows)))

    def mark_saved(self, rows: Sequence[Row], ids: Sequence[object], *, using: str) -> None:
        """Tell the instances among `rows` their keys; one whose key is None stays as it is."""
        if self.pk is None or not self.has_instances(rows):
            return
        for row, pk in zip(rows, ids, strict=True):
            if isinstance(row, models.Model) and pk is not None:
                if getattr(row, self.pk.attname) is None:
                    setattr(row, self.pk.attname, pk)
                row._state.adding = False
                row._state.db = using

    def _by_filled(self, values: Sequence[Values], numbers: Sequence[int]) -> Iterator[Batch]:
        """Split rows by the columns that they leave to the database.

        Rows that the database numbers keep their order: then only neighbours share a batch.
        """
        left = [self._is_left(values[place], self.columns[place]) for place in self._omittable]
        patterns = list(zip(*left, strict=True)) if left else [()] * len(numbers)
        distinct = list(dict.fromkeys(patterns))
        if len(distinct) == 1:
            columns, kept = self._filled(values, distinct[0])
            yield Batch(numbers, columns, kept)
            return
        numbered = [each for each in distinct if self._is_numbered(each)]
        if len(numbered) > 1:
            runs = [
                (pattern, list(run))
                for pattern, run in groupby(range(len(numbers)), key=patterns.__getitem__)
            ]
        else:
            runs = [
                (each, [at for at, pattern in enumerate(patterns) if pattern == each]) for each in distinct
            ]
        for pattern, positions in runs:
            columns, kept = self._filled(values, pattern)
            chosen = [[column[at] for at in positions] for column in kept]
            yield Batch([numbers[at] for at in positions], columns, chosen)

    def _filled(
        self, values: Sequence[Values], pattern: tuple[bool, ...]
    ) -> tuple[list[Column], list[Values]]:
        omitted = set(compress(self._omittable, pattern))
        places = [place for place in range(len(self.columns)) if place not in omitted]
        return [self.columns[place] for place in places], [values[place] for place in places]

    def _is_numbered(self, pattern: tuple[bool, ...]) -> bool:
        omitted = compress(self._omittable, pattern)
        return any(not self.columns[place].field.has_db_default() for place in omitted)

    @staticmethod
    def _is_left(values: Values, column: Column) -> list[bool]:
        if column.field.has_db_default():
            return [isinstance(value, DatabaseDefault) for value in values]
        return [value is None for value in values]

    def _shape_of(self, row: object, number: int) -> DictShape | InstanceShape:
        if isinstance(row, models.Model):
            if row._meta.concrete_model is not self.model._meta.concrete_model:
                raise RowShapeError(self.label, number, f"is a {row._meta.label}.")
            return self.instances
        known: tuple[Any, ...]
        if isinstance(row, Mapping):
            known = keys = tuple(row)
        else:
            keys = self._names_in(row, number)
            known = (type(row), *keys)
        shape = self._shapes.get(known)
        if shape is None:
            if len(self._shapes) >= SHAPES_KEPT:
                self._shapes.clear()
            shape = self._shapes[known] = self._shape(type(row), keys, number)
        return shape

    def _names_in(self, row: object, number: int) -> tuple[str, ...]:
        """Return the names of the fields of an object or a tuple."""
        if isinstance(row, UnreadableRow):
            raise RowDataError(number, row.field, row.problem, row.value_summary)
        names = field_names(type(row))  # type: ignore[arg-type]  # classes can be hashed
        if names is None and isinstance(row, tuple):
            names = self._tuple_names
            if names is None:
                problem = "is a tuple: say with fields=[…] what its values are."
                raise RowShapeError(self.label, number, problem)
        if names is None:
            problem = f"must be a dict, an instance, or an object with named fields, not {summary(row)}."
            raise RowShapeError(self.label, number, problem)
        if isinstance(row, tuple) and len(row) != len(names):
            raise RowShapeError(self.label, number, f"has {len(row)} values for {len(names)} fields.")
        return names

    def _shape(self, kind: type, keys: tuple[str, ...], number: int) -> DictShape:
        places: dict[str, int | None] = {}
        for key in keys:
            if key not in self.places:
                raise RowShapeError(
                    self.label, number, f"has the unknown key {key!r}.{nearest(str(key), list(self.places))}"
                )
            place = self.places[key]
            if place is not None and place in places.values():
                raise RowShapeError(self.label, number, f"gives {self.columns[place].field.name!r} twice.")
            places[key] = place
        related = frozenset(
            key
            for key, place in places.items()
            if place is not None
            and self.columns[place].field.is_relation
            and key == self.columns[place].field.name != self.columns[place].attname
        )
        if issubclass(kind, Mapping):
            return DictShape(self.columns, places, related=related)
        shape = TupleShape if issubclass(kind, tuple) else ObjectShape
        return shape(kind, self.columns, places, related=related)

    def _places_by_key(self) -> dict[str, int | None]:
        """Return where each key goes; a generated field's value is accepted, as by Django, and not written."""
        places: dict[str, int | None] = {
            each.name: None for each in self.model._meta.concrete_fields if each.generated
        }
        for place, column in enumerate(self.columns):
            places[column.field.name] = places[column.attname] = place
            if column.field is self.model._meta.pk:
                places["pk"] = place
        return places


@lru_cache(maxsize=1024)
def compile_plan(model: type[models.Model], tuple_names: tuple[str, ...] | None = None) -> RowPlan:
    """Return the model's plan, compiled at the first call.

    Raises:
        UsageError: As `RowPlan`.
    """
    return RowPlan(model, tuple_names)


def plan_for(model: type[models.Model], fields: Sequence[str] | None) -> RowPlan:
    """Return the plan for rows of which plain tuples have these fields.

    Raises:
        UsageError: They are no list, or as `RowPlan`.
    """
    if fields is None:
        return compile_plan(model)
    if isinstance(fields, str) or not fields:
        raise UsageError("fields must be a list of names, as in fields=['code', 'name'].")
    return compile_plan(model, tuple(fields))


def _column(model: type[models.Model], field: models.Field[object, object]) -> Column:
    concrete = model._meta.concrete_model or model
    return Column(
        field=field,
        is_plain=is_plain(field),
        is_omittable=field is concrete._meta.auto_field or field.has_db_default(),
        has_clock=has_clock(field),
        saves_itself=saves_itself(model, field),
    )


def _unique_sets(plan: RowPlan) -> tuple[frozenset[Column], ...]:
    """Return the columns of each unique constraint, also of those with conditions; of expressions, all columns."""
    meta = (plan.model._meta.concrete_model or plan.model)._meta
    by_name = {column.field.name: column for column in plan.columns}
    named: list[Sequence[str]] = [[column.field.name for column in plan.pk_columns]]
    named += [[column.field.name] for column in plan.columns if column.field.unique]
    named += meta.unique_together
    for constraint in meta.constraints:
        if isinstance(constraint, models.UniqueConstraint):
            named.append(constraint.fields or list(by_name))
    sets = (frozenset(by_name[name] for name in names if name in by_name) for names in named)
    return tuple(dict.fromkeys(sets))


def require_table(model: type[models.Model], function: str) -> None:
    """Raise where a model has no table.

    Args:
        function: Who asks, for the message.

    Raises:
        UnsupportedModelError: The model is abstract, or another one stands in its place.
    """
    meta = model._meta
    if meta.abstract or meta.swapped:
        raise UnsupportedModelError(meta.label, function, "it has no table of its own.")


def is_over_several_tables(model: type[models.Model]) -> bool:
    """Say whether the rows of a model are spread over several tables, by multi-table inheritance."""
    meta = model._meta
    return any(parent._meta.concrete_model is not meta.concrete_model for parent in meta.all_parents)
