"""Statements that name the rows they change by primary key, as Django writes those of instances."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from perfkit.caching.registry import DeclaredColumn, TrackedTable, plain_table_name

BY_KEY: Final = re.compile(
    r"""(?P<verb>UPDATE|DELETE\ FROM)\ "(?P<table>[^"]+)"
        (?P<set>\ SET\ .*)?
        \ WHERE\ (?:"(?P=table)"\.)?"(?P<column>[^"]+)"\ (?:=\ %s|IN\ \((?P<marks>%s(?:,\ %s)*)\))
        (?:\ RETURNING\ [^%]*)?""",
    re.VERBOSE | re.DOTALL,
)
"""The form in which Django writes rows it knows: `UPDATE "t" SET … WHERE "t"."id" = %s`."""


class NamedRows(NamedTuple):
    """The rows that a statement names by primary key, as its last parameters.

    Args:
        quoted: The table, as the statement has it.
        table: None where it is not tracked.
        keys: How many.
    """

    quoted: str
    table: TrackedTable | None
    is_update: bool
    keys: int


class WriteByKey(NamedTuple):
    """A statement that changes rows it names by primary key, of a table with declared columns.

    Args:
        table: As the statement has it, with quotes.
        columns: The declared ones.
        where: With placeholders, `keys` of them: the last parameters.
    """

    table: str
    columns: tuple[DeclaredColumn, ...]
    is_update: bool
    where: str
    keys: int


def named_rows(sql: str, tracked: Mapping[str, TrackedTable]) -> NamedRows | None:
    """Return whose rows a statement names in its WHERE by primary key and by nothing else."""
    match = BY_KEY.fullmatch(sql) if sql.count(" WHERE ") == 1 and ";" not in sql else None
    if match is None or (match["verb"] == "UPDATE") != (match["set"] is not None):
        return None
    table = tracked.get(plain_table_name(match["table"]))
    if table is not None and not table.is_read:
        table = None
    if table is not None and match["column"] != table.pk_column:
        return None
    count = match["marks"].count("%s") if match["marks"] else 1
    return NamedRows(f'"{match["table"]}"', table, match["verb"] == "UPDATE", count)


def write_by_key(sql: str, named: NamedRows | None) -> WriteByKey | None:
    """Return how a statement names rows of a table with declared columns, None where it names none of them."""
    if named is None or named.table is None or not named.table.declared or " RETURNING " in sql:
        return None
    where = sql[sql.index(" WHERE ") :]
    return WriteByKey(named.quoted, named.table.declared, named.is_update, where, named.keys)
