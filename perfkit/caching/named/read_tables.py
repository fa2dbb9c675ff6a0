"""Which tables a SQL statement reads, found by the names in its text.

Names are compared with those of all relations and functions that the database has beside its own.
One that only looks like a table's counts as one: depending on too much is only slow.
What a function of the project's own reads, or a view, cannot be seen here, and is refused.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.caching.bypass import Bypass, UntrackedTableBypass
from perfkit.caching.registry import TrackedTable, tracked_tables
from perfkit.caching.statements import FIRST_WORD, is_read
from perfkit.caching.tags import any_write_tag

MOST_TEXTS: Final = 2_000
LONGEST_KEPT: Final = 4_000

_TOKEN: Final = re.compile(
    r"""
      [eE]'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ | --[^\n]* | /\*.*?\*/
    | (?: "(?P<quoted>(?:[^"]|"")*)" | (?P<word>[^\W\d][\w$]*) ) (?P<call>\s*\()?
    """,
    re.VERBOSE | re.DOTALL,
)
_UNREADABLE: Final = re.compile(r"""\bu&"|\b(?:from|join)\s+'|^\s*pragma\b""", re.IGNORECASE)
"""Names whose letters are numbers, names in the quotes of texts, and a command of SQLite's that reads schemas."""

KNOWN_SECONDS: Final = 1.0
"""How old what is known of the catalogue may be when a new statement is seen."""

_OWN_READERS: Final = re.compile(r"(?:query|table|schema|database|cursor)_to_xml", re.IGNORECASE)
"""Functions of PostgreSQL's that read what a text tells them."""

_POSTGRES_RELATIONS: Final = """
SELECT lower(c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""
_POSTGRES_FUNCTIONS: Final = """
SELECT lower(p.proname) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.provolatile <> 'i' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""
_SQLITE_RELATIONS: Final = "SELECT lower(name) FROM sqlite_master WHERE type IN ('table', 'view')"


class Catalogue(NamedTuple):
    """What a database has beside its own: relations, and functions that may read them; names in lower case.

    Args:
        asked: When, on the monotonic clock.
    """

    relations: frozenset[str]
    functions: frozenset[str]
    asked: float


class ReadText(NamedTuple):
    """What the text of a statement says of what it reads.

    Args:
        tables: Tracked tables.
        unknown: Others.
        refusal: Why what it reads cannot be told from it, else empty.
    """

    tables: tuple[str, ...]
    refusal: str
    unknown: tuple[str, ...] = ()


NOTHING: Final = ReadText((), "")

_READS_NOTHING: Final = frozenset(
    "begin start set reset savepoint release rollback commit end abort show discard lock listen unlisten notify "  # noqa: SIM905  # a list of words
    "deallocate close".split()
)
"""First words of statements that tell nothing of a table's rows."""

_catalogues: Final[dict[tuple[str, str], Catalogue]] = {}
"""By alias and name of the database."""

_texts: tuple[Mapping[str, TrackedTable], dict[tuple[str, str, str], ReadText]] = ({}, {})
"""The tracked tables, and what was found for them; by alias, name of the database, and text."""


def tags_read(connection: BaseDatabaseWrapper, sql: str, scope: str) -> tuple[str, ...]:
    """Return the tags of the tables that a statement reads.

    Args:
        scope: What `databases.tag_scope` calls the database.

    Raises:
        Bypass: What it reads cannot be told, or nobody watches what is written there.

    Queries:
        Two at most a second, where a statement is new, past Django's cursor.
    """
    found = _read_text(connection, sql)
    if found.refusal:
        raise Bypass(found.refusal)
    if found.unknown:
        raise UntrackedTableBypass(found.unknown)
    return tuple([any_write_tag(scope, table) for table in found.tables])


def forget_catalogue() -> None:
    """Look anew, for tables were made, or have other names now."""
    global _texts  # noqa: PLW0603  # replaced as a whole
    _catalogues.clear()
    _texts = ({}, {})


def _read_text(connection: BaseDatabaseWrapper, sql: str) -> ReadText:
    global _texts  # noqa: PLW0603  # replaced as a whole, for other threads use it meanwhile
    first = FIRST_WORD.match(sql)
    if first and first[1].lower() in _READS_NOTHING and ";" not in sql:
        return NOTHING  # and the catalogue is not asked: some must be the first of their transaction
    tracked = tracked_tables()
    key = (connection.alias, str(connection.settings_dict["NAME"]), sql)
    read_for, texts = _texts
    known = texts.get(key) if read_for is tracked else None
    if known is None:
        known = _found(sql, _catalogue(connection), tracked)
        if read_for is not tracked or len(texts) >= MOST_TEXTS:
            texts = {}
            _texts = (tracked, texts)
        if len(sql) <= LONGEST_KEPT:
            texts[key] = known
    return known


def _found(sql: str, catalogue: Catalogue, tracked: Mapping[str, TrackedTable]) -> ReadText:
    if not is_read(sql):
        return ReadText((), "it writes")
    if _UNREADABLE.search(sql):
        return ReadText((), "names in another form")
    tables = set()
    for match in _TOKEN.finditer(sql):
        name = match["quoted"] or match["word"]
        if name is None:
            continue
        name = name.replace('""', '"').lower()
        if name.startswith(("pg_", "sqlite_")) or name == "information_schema":
            return ReadText((), "system catalogue")
        if match["call"] and (name in catalogue.functions or _OWN_READERS.match(name)):
            return ReadText((), "function of the database's own")
        if name in catalogue.relations:
            tables.add(name)
    return ReadText(tuple(sorted(tables & tracked.keys())), "", tuple(sorted(tables - tracked.keys())))


def _catalogue(connection: BaseDatabaseWrapper) -> Catalogue:
    key = (connection.alias, str(connection.settings_dict["NAME"]))
    known = _catalogues.get(key)
    if known is None or time.monotonic() - known.asked > KNOWN_SECONDS:
        known = _catalogues[key] = _asked(connection)
    return known


def _asked(connection: BaseDatabaseWrapper) -> Catalogue:
    connection.ensure_connection()
    driver: Any = connection.connection
    try:
        with connection.wrap_database_errors:
            if connection.vendor == "sqlite":
                return Catalogue(_names(driver.execute(_SQLITE_RELATIONS)), frozenset(), time.monotonic())
            relations = _names(driver.execute(_POSTGRES_RELATIONS))
            return Catalogue(relations, _names(driver.execute(_POSTGRES_FUNCTIONS)), time.monotonic())
    except Error as error:
        raise Bypass("catalogue unreadable") from error  # the database will tell the caller itself


def _names(rows: Any) -> frozenset[str]:
    return frozenset([name for (name,) in rows])
