"""How rows of one make, dicts with the same keys or instances of the model, become columns. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from operator import attrgetter, itemgetter
from types import SimpleNamespace
from typing import Any

import msgspec
from django.core.exceptions import ValidationError
from django.db import models

from perfkit.bulk.fields import ModelField
from perfkit.bulk.refusals import RowDataError, summary

Row = Mapping[str, Any] | models.Model | Any
"""A dict, an instance of the model, or an object or a tuple whose fields have names; see `field_names`."""
Values = Sequence[Any]
REFUSED_VALUE = (ValueError, TypeError, ArithmeticError, ValidationError)
"""What Django's fields raise over a value they cannot take."""


@dataclass(frozen=True, eq=False)
class Column:
    """One column that an INSERT of the model may fill.

    Attributes:
        is_plain: Only Django's own methods touch its values, so that exact types need none of them.
        is_omittable: A row may leave it to the database: a sequence, or a default there.
        has_clock: Django's own auto_now or auto_now_add fills it.
        saves_itself: Only an instance can say what it saves.
    """

    field: ModelField
    is_plain: bool
    is_omittable: bool
    has_clock: bool
    saves_itself: bool

    @property
    def attname(self) -> str:
        """The attribute of an instance, such as `airline_id`."""
        return self.field.attname

    @property
    def name(self) -> str:
        """The column's name in the table."""
        return str(self.field.column)

    def missing(self, count: int) -> Values:
        """Return the values of `count` rows that do not name this column, as Django's constructor sets them."""
        if self.has_clock:
            stand_in = SimpleNamespace()
            return [self.field.pre_save(stand_in, add=True) for _ in range(count)]  # type: ignore[arg-type]
        if self.field.has_default() and callable(self.field.default):
            return [self.field.get_default() for _ in range(count)]
        return [self.field.get_default()] * count


class DictShape:
    """Dicts with the same keys.

    Args:
        columns: All columns of the model.
        places: For each key the place of its column, or None for a key that is not written.
        related: Keys that hold an instance of another model instead of its id.

    Attributes:
        given: The places of the columns that a row gives a value.
    """

    def __init__(
        self, columns: Sequence[Column], places: Mapping[str, int | None], *, related: frozenset[str]
    ) -> None:
        self.columns = columns
        self.keys = tuple(places)
        self.places = tuple(places.values())
        self.related = related
        self.given = tuple(sorted(place for place in self.places if place is not None))
        self.pk_defaults = _places_of_pk_defaults(columns)
        self.get: Callable[[Any], tuple[Any, ...]] = tuple_getter(self.keys)

    def matches(self, rows: Sequence[Any]) -> bool:
        """Tell, without looking at each key, whether `rows` may all have this shape; `read` then makes sure."""
        return set(map(type, rows)) == {dict} and set(map(len, rows)) == {len(self.keys)}

    def written(self, row: Row) -> dict[str, Any]:
        """Return, by key, the values of a row that are written."""
        values = zip(self.keys, self.places, self.get(row), strict=True)
        return {key: value for key, place, value in values if place is not None}

    def read(self, rows: Sequence[Any], numbers: Sequence[int]) -> list[Values]:
        """Return the values of `rows` by column.

        Raises:
            KeyError: A row has other keys.
            RowDataError: A relation's key holds what is not a saved instance.
        """
        by_key = list(zip(*map(self.get, rows), strict=True)) if self.keys else []
        found: list[Values | None] = [None] * len(self.columns)
        for key, place, values in zip(self.keys, self.places, by_key, strict=True):
            if place is not None and not self.columns[place].has_clock:
                found[place] = self._ids(place, values, numbers) if key in self.related else values
        for place in self.pk_defaults:
            default = self.columns[place].field.get_default
            found[place] = [
                default() if value is None else value for value in found[place] or [None] * len(rows)
            ]
        return [
            column.missing(len(rows)) if values is None else values
            for column, values in zip(self.columns, found, strict=True)
        ]

    def _ids(self, place: int, values: Values, numbers: Sequence[int]) -> Values:
        field = self.columns[place].field
        return [related_id(field, value, number) for number, value in zip(numbers, values, strict=True)]


class KindShape(DictShape):
    """Rows of one class that is no mapping.

    Args:
        kind: The class.
    """

    def __init__(
        self,
        kind: type,
        columns: Sequence[Column],
        places: Mapping[str, int | None],
        *,
        related: frozenset[str],
    ) -> None:
        super().__init__(columns, places, related=related)
        self.kind = kind
        self.get = self._getter()

    def matches(self, rows: Sequence[Any]) -> bool:
        """Tell whether all `rows` are of the class."""
        return set(map(type, rows)) == {self.kind}

    def _getter(self) -> Callable[[Any], tuple[Any, ...]]:
        """Return what takes the values of all keys out of a row."""
        raise NotImplementedError


class ObjectShape(KindShape):
    """Objects of one class, whose attributes are the fields."""

    def _getter(self) -> Callable[[Any], tuple[Any, ...]]:
        if len(self.keys) == 1:
            single = attrgetter(self.keys[0])
            return lambda row: (single(row),)
        return attrgetter(*self.keys) if self.keys else lambda _row: ()


class TupleShape(KindShape):
    """Tuples of one class and length, whose values are the fields in their order."""

    def matches(self, rows: Sequence[Any]) -> bool:
        """Tell whether all `rows` are of the class and as long as there are fields."""
        return super().matches(rows) and set(map(len, rows)) == {len(self.keys)}

    def _getter(self) -> Callable[[Any], tuple[Any, ...]]:
        return tuple


class InstanceShape:
    """Instances of the model, read as Django's bulk_create reads them, or its bulk_update.

    Args:
        columns: What is read.
        is_new: Whether the instances are going to be inserted.

    Attributes:
        given: The places of the columns that a row gives a value: all.
    """

    def __init__(self, columns: Sequence[Column], *, is_new: bool = True) -> None:
        self.columns = columns
        self.is_new = is_new
        self.given = tuple(range(len(columns)))
        self.stored = [
            place for place, each in enumerate(columns) if not (each.saves_itself or each.has_clock)
        ]
        self.get = tuple_getter(tuple(columns[place].attname for place in self.stored))
        self.pk_defaults = (
            [columns[place].field for place in _places_of_pk_defaults(columns)] if is_new else []
        )

    def read(self, rows: Sequence[Any], numbers: Sequence[int]) -> list[Values]:
        """Return the values of `rows` by column; `pre_save` may change the instances, as in Django.

        Raises:
            RowDataError: A related instance is not saved, or a field's `pre_save` refuses.
        """
        if self.pk_defaults or any(row._state.fields_cache for row in rows):
            for number, instance in zip(numbers, rows, strict=True):
                self._prepare(instance, number)
        found: dict[int, Values] = dict(zip(self.stored, self._stored(rows), strict=True))
        for place, column in enumerate(self.columns):
            if place not in found:
                found[place] = [
                    self._saved(column, row, number) for number, row in zip(numbers, rows, strict=True)
                ]
        return [found[place] for place in range(len(self.columns))]

    def _stored(self, rows: Sequence[Any]) -> list[Values]:
        if not self.stored:
            return []
        try:
            return list(zip(*map(self.get, map(vars, rows)), strict=True))
        except KeyError:  # deferred: Django loads it
            names = [self.columns[place].attname for place in self.stored]
            return [[getattr(row, name) for row in rows] for name in names]

    def _prepare(self, instance: models.Model, number: int) -> None:
        for field in self.pk_defaults:
            if getattr(instance, field.attname) is None:
                setattr(instance, field.attname, field.get_default())
        if instance._state.fields_cache:
            try:
                instance._prepare_related_fields_for_save(  # type: ignore[attr-defined]  # noqa: SLF001  # as Django does
                    operation_name="bulk_insert" if self.is_new else "bulk_update",
                    fields=None if self.is_new else [column.field for column in self.columns],
                )
            except ValueError as error:  # Django's text names the relation, no value
                raise RowDataError(number, None, str(error)) from None

    def _saved(self, column: Column, instance: models.Model, number: int) -> Any:
        """Return what `save` would send; `pre_save` may change the instance, as in Django."""
        try:
            return column.field.pre_save(instance, add=self.is_new)
        except REFUSED_VALUE as error:
            problem = f"its pre_save raised {type(error).__name__}."
            raise RowDataError(number, column.field.name, problem) from None


@cache
def field_names(kind: type) -> tuple[str, ...] | None:
    """Return the names of the fields of a class of rows, None where it is not one of a known make.

    Named tuples, dataclasses, msgspec's structs and pydantic's models.
    """
    if issubclass(kind, tuple):
        return getattr(kind, "_fields", None)
    if is_dataclass(kind):
        return tuple(each.name for each in fields(kind))
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_fields__
    if isinstance(of_pydantic := getattr(kind, "__pydantic_fields__", None), dict):
        return tuple(of_pydantic)
    return None


def related_id(field: ModelField, value: Any, number: int) -> Any:
    """Return the id that a foreign key stores for an instance, None for None.

    Raises:
        RowDataError: The value is no instance of the related model, or not a saved one.
    """
    assert isinstance(field, models.ForeignKey)  # noqa: S101  # the plan names only these
    related = field.target_field.model
    if value is not None and not isinstance(value, related):
        problem = f"{summary(value)} is not an instance of {related._meta.label}; an id goes under"
        raise RowDataError(number, field.name, f"{problem} {field.attname!r}.", summary(value))
    stored = None if value is None else getattr(value, field.target_field.attname)
    if value is not None and stored is None:
        raise RowDataError(number, field.name, "the related instance is not saved.", summary(value))
    return stored


def _places_of_pk_defaults(columns: Sequence[Column]) -> list[int]:
    """Return the places of primary keys whose None means their default, as in bulk_create."""
    return [
        place for place, each in enumerate(columns) if each.field.primary_key and each.field.has_default()
    ]


def tuple_getter(keys: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what takes the values of some keys out of a mapping, always as a tuple."""
    if len(keys) == 1:
        single = itemgetter(keys[0])
        return lambda row: (single(row),)
    return itemgetter(*keys) if keys else lambda _row: ()
