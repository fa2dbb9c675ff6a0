"""Which of an admin's searches no index serves, and which index would. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from django.db.models import Model, TextField

from perfkit.admin.searched_columns import Access, Searched
from perfkit.postgres.table_indexes import IndexKey, TableIndex

LONGEST_NAME: Final = 30
"""Of an index, by Django's own rule."""

TRIGRAMS: Final = frozenset({"gin_trgm_ops", "gist_trgm_ops"})
COLUMN: Final = re.compile(r'^"?(?P<column>[^"()]+?)"?$')
UPPER: Final = re.compile(r'^upper\(\(?"?(?P<column>[^"()]+?)"?\)?(::text)?\)$')
TOLD: Final = {
    Access.EQUAL: "equal",
    Access.PREFIX: "beginning with",
    Access.SUBSTRING: "containing",
    Access.WORDS: "words",
}


class Unserved(NamedTuple):
    """Something that no index finds.

    Args:
        problem: What is compared, and how.
        advice: What to do.
    """

    problem: str
    advice: str


def unserved(
    columns: Sequence[Searched], indexes: Mapping[type[Model], Iterable[TableIndex]]
) -> list[Unserved]:
    """Return what of a search no index serves: a search is served where every one of its columns is.

    For the words are looked for in all columns at once, by OR: one column without an index has the whole table
    read. So does an OR over columns of several tables.

    Args:
        columns: Those that are compared.
        indexes: Of each of their models.
    """
    tables = {each.model._meta.db_table for each in columns}
    if len(tables) > 1:
        names = ", ".join(each.path for each in columns)
        return [
            Unserved(
                f"{names} are columns of several tables",
                "No index serves an OR over tables: name columns of one.",
            )
        ]
    return [
        Unserved(f"{each.path} ({TOLD[each.access]})", _advice(each))
        for each in columns
        if each.access is not None and not _is_served(each, indexes[each.model])
    ]


def _is_served(column: Searched, indexes: Iterable[TableIndex]) -> bool:
    if column.access is Access.WORDS:
        return any(
            index.method in {"gin", "gist"}
            and "to_tsvector" in key.text
            and str(column.field.column) in key.text
            for index in indexes
            for key in index.keys
        )
    if column.is_cast and not column.is_upper:
        return False
    return any(
        _holds(key, column) and column.access in _accesses(index, key)
        for index in indexes
        for key in (index.keys if index.method == "gin" else index.keys[:1])
    )


def _holds(key: IndexKey, column: Searched) -> bool:
    found = (UPPER if column.is_upper else COLUMN).match(key.text)
    return found is not None and found["column"] == column.field.column


def _accesses(index: TableIndex, key: IndexKey) -> set[Access]:
    if key.operator_class in TRIGRAMS:
        return {Access.EQUAL, Access.PREFIX, Access.SUBSTRING}
    if index.method == "btree":
        finds_prefixes = key.operator_class.endswith("_pattern_ops") or key.is_bytewise
        return {Access.EQUAL, Access.PREFIX} if finds_prefixes else {Access.EQUAL}
    return {"hash": {Access.EQUAL}, "spgist": {Access.EQUAL, Access.PREFIX}}.get(index.method, set())


def _advice(column: Searched) -> str:
    """Return what to do, as a line to paste where there is one."""
    name, owner = column.field.name, column.model._meta
    where = f"{owner.label}.Meta.indexes"
    if column.access is Access.WORDS:
        return f'Add GinIndex(SearchVector("{name}", config="english"), …) to {where}, with the same config.'
    if column.is_cast:
        return (
            f"It is no text, and made one to be searched: name a text column, or look for {name} by yourself."
        )
    title = 'name="{}"'.format(f"{owner.model_name}_{name}_search"[:LONGEST_NAME])
    if column.is_upper:
        made = f'Upper("{name}")'
        index = {
            Access.EQUAL: f"Index({made}, {title})",
            Access.PREFIX: f'Index(OpClass({made}, name="text_pattern_ops"), {title})',
            Access.SUBSTRING: f'GinIndex(OpClass({made}, name="gin_trgm_ops"), {title})',
        }[column.access or Access.EQUAL]
    else:
        pattern = "text_pattern_ops" if isinstance(column.field, TextField) else "varchar_pattern_ops"
        index = {
            Access.EQUAL: f'Index(fields=["{name}"], {title})',
            Access.PREFIX: f'Index(fields=["{name}"], opclasses=["{pattern}"], {title})',
            Access.SUBSTRING: f'GinIndex(fields=["{name}"], opclasses=["gin_trgm_ops"], {title})',
        }[column.access or Access.EQUAL]
    extension = ", after TrigramExtension()" if column.access is Access.SUBSTRING else ""
    return f"Add {index} to {where}{extension}."
