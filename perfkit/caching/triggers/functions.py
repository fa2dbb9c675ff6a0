"""What a trigger's function says: which tags it tells for which rows, as SQL. Pure.

The names of tags are made by `tags`, around a place for the database's name, which the function computes
where it runs: a dump may be restored under another name.
Values are named as `keys` and `tags.key_text` do, and only where a column still has a type of its kind:
the check also keeps code of a type that somebody else made from running with the rights of the function's owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

from psycopg.sql import SQL, Composable, Identifier, Literal

from perfkit.caching.keys import Kind
from perfkit.caching.tags import LONGEST_PLAIN_TEXT, any_write_tag, row_prefix, table_tag, value_tag

MOST_ROWS: Final = 100
"""Rows of one statement that are told one by one; of more, the table's own tag."""
MOST_STATEMENTS: Final = 100
"""Statements of one transaction that are told one by one; then the table's own tag, once."""

PREFIX: Final = "perfkit_outside_"
"""Begins the names of triggers and functions."""
WRITER: Final = "trigger"
"""Who has told what a trigger puts into the outbox."""
LONGEST_STEM: Final = 24
ROWS: Final = ("OLD", "NEW")
"""What a trigger of rows has in the place of transition tables."""
SCOPE: Final = "\0"
"""Stands for the database's name while tags are made."""

TYPES: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.NUMBER: ("bigint", "integer", "smallint"),
    Kind.TEXT: ("text", "character varying"),
    Kind.UUID: ("uuid",),
    Kind.BOOLEAN: ("boolean",),
    Kind.DATE: ("date",),
}
"""Types of which two values are equal in PostgreSQL only where their keys are equal here."""

TEXT_KEY: Final = (
    "CASE WHEN length({text}) <= {longest} AND {text} COLLATE \"C\" ~ '^[!-~]+$' AND NOT starts_with({text}, '#') "
    "THEN {text} ELSE '#' || encode(sha256(convert_to({text}, 'UTF8')), 'hex') END"
)
NAMED: Final[Mapping[Kind, str]] = {
    Kind.NUMBER: "{value}::text",
    Kind.UUID: "replace({value}::text, '-', '')",
    Kind.BOOLEAN: "CASE {value}::text WHEN 'true' THEN '1' ELSE '0' END",
    Kind.DATE: (
        "CASE WHEN {value} BETWEEN '0001-01-01' AND '9999-12-31' "
        "THEN to_char({value}::timestamp, 'YYYY-MM-DD') END"
    ),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column whose values name rows in tags.

    Args:
        kind: None where its values cannot be told surely.
    """

    name: str
    kind: Kind | None


@dataclass(frozen=True, slots=True)
class Telling:
    """What is told of a write to one table.

    Args:
        table: Its name as readers have it.
        names: Under which it is written: its own, those of its partitions.
        is_read: Whether cached reads look into it; else only what it changes matters.
        pk: Its primary key.
        declared: The columns by which its lists are divided.
        changes: Other tables whose rows change with any write to it.
        cascades: Those whose rows change when rows of it are deleted.
        is_replicated: Whether a subscription writes it: replication fires triggers of rows alone.
    """

    table: str
    names: tuple[str, ...]
    is_read: bool
    pk: Column
    declared: tuple[Column, ...] = ()
    changes: frozenset[str] = frozenset()
    cascades: frozenset[str] = frozenset()
    is_replicated: bool = False

    def __post_init__(self) -> None:
        """Refuse what no name of a tag may hold."""
        if any(SCOPE in name for name in (self.table, *self.changes, *self.cascades)):
            raise ValueError("a table's name holds NUL")

    @property
    def tells_rows(self) -> bool:
        """Whether an UPDATE or a DELETE of few rows can be told row by row."""
        return self.pk.kind is not None and self.tells_values

    @property
    def tells_values(self) -> bool:
        """Whether all declared columns have values that can be named."""
        return all(column.kind is not None for column in self.declared)


def function_name(schema: str, table: str) -> str:
    """Return what the function for a table is called: the same in each database that has such a table."""
    stem = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in table.lower())
    digest = sha256(f"{schema}\0{table}".encode()).hexdigest()[:8]
    return f"{PREFIX}{stem[:LONGEST_STEM]}_{digest}"


def function_body(telling: Telling, *, outbox: tuple[str, str]) -> str:
    """Return the text of the function that the triggers of a table call.

    Args:
        outbox: Schema and name of the outbox.
    """
    others = sorted(telling.changes)
    cascades = sorted(telling.cascades)
    own = [telling.table] if telling.is_read else []
    always = _list([*[any_write_tag(SCOPE, name) for name in own], *_both(others)])
    outbox_name = Identifier(*outbox)
    body = _sql(template("body")).format(
        most_statements=Literal(MOST_STATEMENTS),
        known_names=SQL("ARRAY[{}]::text[]").format(SQL(", ").join(map(Literal, telling.names))),
        inserted=_inserted(telling),
        updated=_changed(telling, ("old_rows", "new_rows")),
        deleted=_changed(telling, ("old_rows",)),
        replicated=_replicated(telling),
        whole=_list(_both([*own, *others, *cascades])),
        always=always,
        cascaded=_list(_both(cascades)),
        outbox=outbox_name,
        outbox_text=Literal(outbox_name.as_string(None)),
        writer=Literal(WRITER),
    )
    return body.as_string(None)


@cache
def template(name: str) -> str:
    """Return one of the files beside this one."""
    return files(__package__).joinpath(f"{name}.sql").read_text("utf-8")


def _sql(text: Any) -> SQL:
    """Return text as SQL; all of it is ours."""
    return SQL(text)


def _both(names: Iterable[str]) -> list[str]:
    return [tag(SCOPE, name) for name in names for tag in (any_write_tag, table_tag)]


def _list(tags: Iterable[str]) -> Composable:
    return SQL(", ").join(map(_with_scope, tags))


def _with_scope(tag: str) -> Composable:
    """Return a tag as an expression that has the database's name in it."""
    before, _, after = tag.partition(SCOPE)
    return SQL("{} || perfkit_scope || {}").format(Literal(before), Literal(after))


def _inserted(telling: Telling, source: str = "new_rows") -> Composable:
    """Return what names new rows: no read that found a row by its key depends on them, but on their values."""
    if telling.is_read and telling.declared:
        return _named(telling, (source,), telling.declared, is_sure=telling.tells_values)
    # Whatever was told before in this transaction says as much.
    return SQL("IF times > 0{} THEN RETURN NULL; END IF;").format(_or_is_empty(source))


def _changed(telling: Telling, sources: Sequence[str]) -> Composable:
    if not telling.is_read:
        return SQL("IF times > 0 AND TG_OP <> 'DELETE'{} THEN RETURN NULL; END IF;").format(
            _or_is_empty(sources[0])
        )
    return _named(telling, sources, (telling.pk, *telling.declared), is_sure=telling.tells_rows)


def _replicated(telling: Telling) -> Composable:
    """Return what is told of single rows."""
    if not telling.is_replicated:
        return SQL("")
    return SQL(
        """ELSE
                CASE TG_OP
                WHEN 'INSERT' THEN
                    {}
                WHEN 'UPDATE' THEN
                    {}
                WHEN 'DELETE' THEN
                    {}
                END CASE;
            """
    ).format(_inserted(telling, "NEW"), _changed(telling, ("OLD", "NEW")), _changed(telling, ("OLD",)))


def _or_is_empty(source: str) -> Composable:
    """Return the rest of a condition: that a transition table has no rows; a single row is always there."""
    if source in ROWS:
        return SQL("")
    return SQL(" OR NOT EXISTS (SELECT FROM {})").format(_sql(source))


def _rows(source: str, columns: Sequence[Column]) -> Composable:
    """Return the first rows of a transition table, or a single row."""
    if source in ROWS:
        values = [SQL("{0}.{1} AS {1}").format(_sql(source), Identifier(column.name)) for column in columns]
        return SQL("(SELECT {})").format(SQL(", ").join(values))
    names = [SQL("s.{}").format(Identifier(column.name)) for column in columns]
    return SQL("(SELECT {} FROM {} s LIMIT {})").format(
        SQL(", ").join(names), _sql(source), Literal(MOST_ROWS + 1)
    )


def _named(
    telling: Telling, sources: Sequence[str], columns: Sequence[Column], *, is_sure: bool
) -> Composable:
    if not is_sure:
        return SQL("IF false{} THEN RETURN NULL; END IF;\n                    is_whole := true;").format(
            _or_is_empty(sources[0])
        )
    named = [
        _row_tag(telling.table, column) if column is telling.pk else _value_tag(telling.table, column)
        for column in columns
    ]
    return SQL(
        """SELECT count(*), count(*) > {most} OR coalesce(bool_or(t.tag IS NULL), false), array_agg(DISTINCT t.tag)
                    INTO found, is_whole, tags
                    FROM ({rows}) r CROSS JOIN LATERAL (VALUES {named}) AS t (tag);
                    IF found = 0 THEN
                        RETURN NULL;
                    END IF;"""
    ).format(
        most=Literal(MOST_ROWS * len(sources) * len(columns)),
        rows=SQL(" UNION ALL ").join([_rows(source, columns) for source in sources]),
        named=SQL(", ").join([SQL("({})").format(each) for each in named]),
    )


def _row_tag(table: str, column: Column) -> Composable:
    return SQL("{} || {}").format(_with_scope(row_prefix(SCOPE, table)), _key(column))


def _value_tag(table: str, column: Column) -> Composable:
    return SQL("CASE WHEN r.{} IS NULL THEN {} ELSE {} || ':' || {} END").format(
        Identifier(column.name),
        *[_with_scope(value_tag(SCOPE, table, column.name, None))] * 2,
        _key(column),
    )


def _key(column: Column) -> Composable:
    """Return what names a value of a column as `tags.key_text` does, NULL where that is not sure."""
    assert column.kind is not None  # noqa: S101  # others are not named
    value = SQL("r.{}").format(Identifier(column.name))
    if column.kind is Kind.TEXT:
        text = SQL("{}::text").format(value)
        key = SQL(TEXT_KEY).format(text=text, longest=Literal(LONGEST_PLAIN_TEXT))
    else:
        key = _sql(NAMED[column.kind]).format(value=value)
    types = SQL(", ").join(
        [
            SQL("{}::regtype").format(Literal(f"pg_catalog.{SHORT.get(name, name)}"))
            for name in TYPES[column.kind]
        ]
    )
    return SQL("CASE WHEN pg_typeof({value}) IN ({types}) THEN {key} END").format(
        value=value, types=types, key=key
    )


SHORT: Final[Mapping[str, str]] = {
    "bigint": "int8",
    "integer": "int4",
    "smallint": "int2",
    "character varying": "varchar",
    "boolean": "bool",
}
"""Names in the catalogue of types that SQL has words for."""
