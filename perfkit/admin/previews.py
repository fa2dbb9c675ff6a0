"""The first rows of an import, each beside what the table has in its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from django import forms
from django.db import connections, models, router
from django.http import HttpRequest

from perfkit.admin.links import links
from perfkit.admin.rows import Values
from perfkit.bulk.plan import compile_plan
from perfkit.bulk.unique_keys import key_named

NEW: Final = "new"
CHANGED: Final = "changed"
UNCHANGED: Final = "unchanged"
SHOWN_CHARACTERS: Final = 60
LEADING_CHARACTERS: Final = 20
"""Shown of what long texts have in common before the first character that differs."""

Key = tuple[Any, ...]
Labels = Mapping[str, Mapping[Any, Any]]
"""By `attname`."""


class Cell(NamedTuple):
    """A value as a page shows it.

    Attributes:
        former: What the table has; meaningful where `is_changed`.
        is_changed: Whether that is another value, and somebody may know it.
    """

    value: str
    former: str = ""
    is_changed: bool = False


class PreviewRow(NamedTuple):
    """A row as it would be written; `state` is `new`, `changed` or `unchanged`."""

    state: str
    cells: list[Cell]


class Former(NamedTuple):
    """A row that the table has; `values` are those that somebody may see, by `attname`."""

    values: Values


def former_rows(
    model_admin: Any, request: HttpRequest, rows: Sequence[Values], key: Sequence[str]
) -> dict[Key, Former]:
    """Return what the table has in the place of `rows`, by the values of their key; relations to many as sets.

    A value is told of a row that the admin shows to this person, in a field that its form lets them change there.

    Args:
        rows: Few, by `attname`.
        key: The names of the fields by which rows of the table are found.

    Queries: Two, and one for each relation to many.
    """
    model = model_admin.model
    names = _attnames(model, key)
    keys = {tuple(row[name] for name in names) for row in rows}
    found = _stored(model, names, {each for each in keys if None not in each or _has_equal_nulls(model, key)})
    pks = [values["pk"] for values in found.values()]
    for field in model._meta.many_to_many if pks else ():
        if any(field.name in row for row in rows):
            joined = list(links(field, pks, router.db_for_write(model)))
            for values in found.values():
                values[field.name] = frozenset(link.target for link in joined if link.source == values["pk"])
    shown = {row.pk: row for row in model_admin.get_queryset(request).filter(pk__in=pks)} if pks else {}
    former: dict[Key, Former] = {}
    for each, values in found.items():
        row = shown.get(values["pk"])
        seen = () if row is None else _seen(model_admin, request, row)
        former[each] = Former({name: values[name] for name in seen if name in values})
    return former


def _attnames(model: type[models.Model], names: Sequence[str]) -> list[str]:
    return [model._meta.get_field(name).attname for name in names]  # type: ignore[union-attr]  # of its own table


def _has_equal_nulls(model: type[models.Model], key: Sequence[str]) -> bool:
    connection = connections[router.db_for_write(model)]
    return key_named(compile_plan(model), connection, key).has_equal_nulls


def _stored(model: type[models.Model], names: Sequence[str], keys: set[Key]) -> dict[Key, Values]:
    wanted = models.Q()
    for place, name in enumerate(names):
        values = {key[place] for key in keys}
        one = models.Q(**{f"{name}__in": values - {None}})
        wanted &= one | models.Q(**{f"{name}__isnull": True}) if None in values else one
    attnames = [field.attname for field in model._meta.concrete_fields]
    rows = model._base_manager.using(router.db_for_write(model)).filter(wanted).order_by()
    by_key = {tuple(row[name] for name in names): row for row in rows.values("pk", *attnames)}
    return {key: row for key, row in by_key.items() if key in keys}


def _seen(model_admin: Any, request: HttpRequest, row: models.Model) -> Iterator[str]:
    """Yield the `attname` of each field whose value the admin's form for this row would hold."""
    if not model_admin.has_view_permission(request, row):
        return
    formed = model_admin.get_form(request, row, change=True).base_fields
    for field in [*row._meta.concrete_fields, *row._meta.many_to_many]:
        formfield = formed.get(field.name)
        if formfield is not None and not _is_masked(formfield.widget):
            yield field.attname


def _is_masked(widget: Any) -> bool:
    return isinstance(widget, forms.PasswordInput) and not widget.render_value


def values_of(name: str, rows: Iterable[Values], former: Iterable[Former]) -> set[Any]:
    """Return the values of one field in rows, and in what the table has in their place; without None."""
    both = [values.get(name) for values in (*rows, *(row.values for row in former))]
    return {one for value in both for one in (value if isinstance(value, frozenset) else {value})} - {None}


def preview_rows(
    rows: Sequence[Values],
    names: Sequence[str],
    key: Sequence[str],
    former: Mapping[Key, Former],
    labels: Labels,
) -> list[PreviewRow]:
    """Return the rows with what changes in them. Pure.

    Args:
        names: The fields that are shown, by `attname`, as all others here.
        key: The fields by which `former` has its rows.
        labels: What is shown in place of a field's values.
    """
    return [
        _preview_row(row, names, key, former.get(tuple(row[each] for each in key)), labels) for row in rows
    ]


def _preview_row(
    row: Values, names: Sequence[str], key: Sequence[str], former: Former | None, labels: Labels
) -> PreviewRow:
    known = {} if former is None else former.values
    cells = [_cell(row, name, known, labels.get(name, {})) for name in names]
    if former is None:
        return PreviewRow(NEW, cells)
    hidden = row.keys() - known.keys() - set(key)
    is_changed = bool(hidden) or any(cell.is_changed for cell in cells)
    return PreviewRow(CHANGED if is_changed else UNCHANGED, cells)


def _cell(row: Values, name: str, former: Values, labels: Mapping[Any, Any]) -> Cell:
    value = row.get(name)
    text = shown(_labelled(value, labels))
    if name not in row or name not in former or value == former[name]:
        return Cell(shortened(text))
    before = shown(_labelled(former[name], labels))
    return Cell(*around_difference(text or '""', before or '""'), is_changed=True)


def _labelled(value: Any, labels: Mapping[Any, Any]) -> Any:
    if not labels:  # then the value need not be hashable
        return value
    if isinstance(value, frozenset):
        return frozenset(labels.get(one, one) for one in value)
    return labels.get(value, value)


def shown(value: Any) -> str:
    """Return a value as a page can show it, whatever it holds."""
    if value is None or value == frozenset():
        return "-"
    if isinstance(value, frozenset):
        return ", ".join(sorted(map(shown, value)))
    text = bytes(value).hex() if isinstance(value, bytes | memoryview) else str(value)
    return text.encode("utf-8", "backslashreplace").decode()


def shortened(text: str) -> str:
    """Return what a cell has room for."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"


def around_difference(one: str, other: str) -> tuple[str, str]:
    """Return two texts, or of long ones what is around the first character that differs."""
    pairs = enumerate(zip(one, other, strict=False))
    same = next((place for place, (left, right) in pairs if left != right), min(len(one), len(other)))
    is_long = max(len(one), len(other)) > SHOWN_CHARACTERS
    start = same - LEADING_CHARACTERS if is_long and same > LEADING_CHARACTERS else 0
    before = "…" if start else ""
    return shortened(before + one[start:]), shortened(before + other[start:])
