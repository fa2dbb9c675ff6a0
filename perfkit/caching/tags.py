"""The tags a cached read depends on, and the keys of entries: plain text, computed locally.

A row's tag (`r:`) changes when that row is written, a table's tag (`b:`) when unknown rows of it are,
and `a:` with any write to the table, new rows included.
The tag of a value of a declared column (`c:`) changes when a row is written that has it, or had it before.
A read by primary key depends on `r:` and `b:`, one by a declared column on `c:` and `b:`,
any other read on the `a:` of each table it looks into.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable
from typing import Final
from uuid import UUID

LONGEST_PLAIN_TEXT: Final = 120
PLAIN = re.compile(r"[!-~]+")
"""Printable ASCII without space: what every server and log takes as it is."""

ENTRY_KINDS: Final = ("e:", "q:", "v:", "l:")
"""Begin the keys that are no tags: of entries, and of leases on filling them."""

PrimaryKey = int | str | UUID


def row_tag(database: str, table: str, pk: PrimaryKey) -> str:
    """Return the tag of one row of a table in the database that `databases.tag_scope` names so."""
    return row_prefix(database, table) + key_text(pk)


def row_prefix(database: str, table: str) -> str:
    """Return what the tags of a table's rows begin with; `key_text` of their keys follows."""
    return f"r:{database}:{_part(table)}:"


def table_tag(database: str, table: str) -> str:
    """Return the tag of all rows of a table at once."""
    return f"b:{database}:{_part(table)}"


def any_write_tag(database: str, table: str) -> str:
    """Return the tag that every write to a table changes, of whichever rows."""
    return f"a:{database}:{_part(table)}"


def database_of(tag: str) -> str:
    """Return the name of a tag's database, as `databases.tag_scope` gives it."""
    return tag.split(":", 2)[1]


def databases_of(tags: Iterable[str]) -> frozenset[str]:
    """Return the names of the databases of the tables that tags are of; some tags are of none."""
    return frozenset([tag.split(":", 2)[1] for tag in tags if tag[0] in "abcr"])


def table_of(tag: str) -> str:
    """Return the name of a tag's table, as tags have it."""
    return tag.split(":", 3)[2]


def value_tag(database: str, table: str, column: str, value: PrimaryKey | None) -> str:
    """Return the tag of all rows of a table that have one value of a declared column, or NULL."""
    column_tag = f"c:{database}:{_part(table)}:{_part(column)}"
    return column_tag if value is None else f"{column_tag}:{key_text(value)}"


def tables_of(tags: Iterable[str]) -> set[str]:
    """Return the tables' own tags of all tables that `tags` are of; some are of none."""
    parts = (tag.split(":", 3) for tag in tags if tag[0] in "abcr")
    return {f"b:{database}:{table}" for _, database, table, *_ in parts}


def with_any_write(tables: Iterable[str]) -> set[str]:
    """Return tables' own tags, and with each the one that any write to it changes."""
    return {tag for table in tables for tag in (table, f"a{table[1:]}")}


def coarsened(tags: Iterable[str], *, most_rows: int) -> set[str]:
    """Return `tags` with a table's own tag for its rows' and values', where those are more than `most_rows`."""
    rows_of: dict[tuple[str, str], set[str]] = defaultdict(set)
    kept = set()
    for tag in tags:
        if tag[0] in "rc":
            _, database, table, *_ = tag.split(":", 3)
            rows_of[database, table].add(tag)
        else:
            kept.add(tag)
    for (database, table), rows in rows_of.items():
        whole = table_tag(database, table)
        if len(rows) > most_rows:
            kept.add(whole)
        elif whole not in kept:
            kept |= rows
    return kept


def entry_prefix(database: str, table: str, columns: str) -> str:
    """Return what the keys of a table's rows begin with; `key_text` of their primary keys follows.

    Args:
        database: What `databases.entry_scope` calls it.
        columns: Fingerprint of the columns and their types, so that old entries of a changed model are misses.
    """
    return f"e:{database}:{_part(table)}:{columns}:"


def lease_name(key: str, tokens: Iterable[bytes]) -> str:
    """Return what filling an entry with these tokens is called: after a write it is another thing to do."""
    return f"l:{key}:{zlib.crc32(b''.join(tokens)):08x}"


def query_key(database: str, digest: str) -> str:
    """Return the key under which the answer to a query is stored.

    Args:
        database: What `databases.entry_scope` calls it.
        digest: Of all that the answer depends on but rows.
    """
    return f"q:{database}:{digest}"


def key_text(pk: PrimaryKey) -> str:
    """Return `pk` as text that is safe in a key; long or unusual text is hashed."""
    if isinstance(pk, int):
        return str(pk)
    if isinstance(pk, UUID):
        return pk.hex
    if len(pk) <= LONGEST_PLAIN_TEXT and PLAIN.fullmatch(pk) and not pk.startswith("#"):
        return pk
    return f"#{hashlib.sha256(pk.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _part(table: str) -> str:
    """Return a table's name as one part of a key, whose parts are joined by colons."""
    return table.replace(":", "%3A") if table.isascii() and table.isprintable() else key_text(table)
