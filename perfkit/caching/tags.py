"""The tags a cached read depends on, and the keys of entries: plain text, computed locally.

A row's tag (`r:`) changes when that row is written, a table's tag (`b:`) when unknown rows of it are.
A read by primary key depends on both.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final
from uuid import UUID

LONGEST_PLAIN_TEXT: Final = 120
PLAIN = re.compile(r"[!-~]+")
"""Printable ASCII without space: what every server and log takes as it is."""

PrimaryKey = int | str | UUID


def row_tag(alias: str, table: str, pk: PrimaryKey) -> str:
    """Return the tag of one row."""
    return f"r:{alias}:{table}:{key_text(pk)}"


def table_tag(alias: str, table: str) -> str:
    """Return the tag of all rows of a table at once."""
    return f"b:{alias}:{table}"


def entry_key(alias: str, table: str, columns: str, pk: PrimaryKey) -> str:
    """Return the key under which a row is stored.

    Args:
        columns: Fingerprint of the columns and their types, so that old entries of a changed model are misses.
    """
    return f"e:{alias}:{table}:{columns}:{key_text(pk)}"


def key_text(pk: PrimaryKey) -> str:
    """Return `pk` as text that is safe in a key; long or unusual text is hashed."""
    if isinstance(pk, int):
        return str(pk)
    if isinstance(pk, UUID):
        return pk.hex
    if len(pk) <= LONGEST_PLAIN_TEXT and PLAIN.fullmatch(pk) and not pk.startswith("#"):
        return pk
    return f"#{hashlib.sha256(pk.encode('utf-8', 'surrogatepass')).hexdigest()}"
