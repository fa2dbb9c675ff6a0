"""What is read from the text of statements without their values. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Final

BEGINNINGS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "(")
OWN: Final = "perfkit_"
"""Begins the names of perfkit's own tables."""

_CATALOGUE: Final = re.compile(
    r"\b(?:pg_catalog|information_schema|sqlite_master|sqlite_schema"
    r"|pg_(?:class|attribute|constraint|index|indexes|namespace|type|extension|stat\w*|settings|locks|proc|roles"
    r"|description|database|trigger|sequences?|tables|views|depend|attrdef|am|opclass|inherits|cursors))\b",
    re.IGNORECASE,
)
_WRITES: Final = re.compile(r'"(?:[^"]|"")*"|\b(INSERT|UPDATE|DELETE|MERGE)\b(?!\s+SET\b)', re.IGNORECASE)
_LOCKS: Final = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+)?UPDATE\b", re.IGNORECASE)
_ASKS_LOCKS: Final = re.compile(
    r'"(?:[^"]|"")*"|\b(FOR\s+(?:NO\s+KEY\s+UPDATE|UPDATE|SHARE|KEY\s+SHARE))\b', re.IGNORECASE
)
_TABLE: Final = re.compile(
    r'\b(?:FROM|JOIN|INTO|UPDATE)\s+(?:ONLY\s+)?(?:(?:"(?:[^"]|"")*"|\w+)\.)?("(?:[^"]|"")*"|[^\W\d]\w*)(?!\w*\()',
    re.IGNORECASE,
)
_VALUE: Final = re.compile(
    r"""
      (?P<name> "(?:[^"]|"")*" )
    | (?P<percent> %% )
    | %s | %\(\w+\)s | \$\d+(?!\w) | \?
    | (?<!IS\ )(?<!IS\ NOT\ )\b(?:TRUE|FALSE|NULL)\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SIGN: Final = re.compile(r"(?<=[(=,<>+*/ ])-\?")
_CAST: Final = re.compile(
    r"\?::(?:\"[^\"]+\"|\w+(?: varying| precision| with(?:out)? time zone)?)"
    r"(?:\((?:\?|…)\))?(?:\[\])*",
    re.IGNORECASE,
)
_INNER_SPACE: Final = re.compile(r"(?<=\() +| +(?=\))")
_LIST: Final = re.compile(r"\(\?(?: ?, ?\?)*\)")
_ROWS: Final = re.compile(r"\(…\)(?: ?, ?\(…\))+")


def digest_of(fingerprint: str) -> str:
    """Return a short name for a shape, 32 characters, the same in each process."""
    return hashlib.blake2b(fingerprint.encode(errors="replace"), digest_size=16).hexdigest()


def is_counted(fingerprint: str) -> bool:
    """Say whether statements of this shape belong to a workload.

    They read or write rows, not the catalogue's, nor those of perfkit's own tables.

    Example:
        >>> [is_counted(text) for text in ("SELECT ?", "BEGIN", 'SELECT * FROM "perfkit_job"')]
        [True, False, False]
    """
    return (
        fingerprint[:6].upper().startswith(BEGINNINGS)
        and OWN not in fingerprint
        and _CATALOGUE.search(fingerprint) is None
    )


def verb_of(fingerprint: str) -> str:
    """Return SELECT, INSERT, UPDATE, DELETE or MERGE: what the statement does at most.

    Example:
        >>> verb_of("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x"), verb_of("SELECT 1 FOR UPDATE")
        ('DELETE', 'SELECT')
    """
    text = _LOCKS.sub("", fingerprint)
    return next((found[1].upper() for found in _WRITES.finditer(text) if found[1]), "SELECT")


def locks_rows(fingerprint: str) -> bool:
    """Say whether a SELECT asks for locks of the rows that it reads, which nothing that only reads may."""
    return any(found[1] for found in _ASKS_LOCKS.finditer(fingerprint))


def tables_of(fingerprint: str) -> tuple[str, ...]:
    """Return the names of the tables that a statement reads or writes, in the order of the text.

    Example:
        >>> tables_of('SELECT * FROM "a" INNER JOIN public.b ON ("a"."id" = b.id)')
        ('a', 'b')
    """
    names = (found[1] for found in _TABLE.finditer(fingerprint))
    return tuple(dict.fromkeys(name.strip('"').replace('""', '"') for name in names))


def common_form(fingerprint: str) -> str:
    """Return what Django's text of a statement and the one that PostgreSQL keeps of it have in common.

    PostgreSQL has `$1` where Django has `%s` or a literal, with the cast that the driver has put there, and a list
    may be one place.

    Example:
        >>> common_form('SELECT "a" FROM "t" WHERE "b" IN (%s) AND "c" = %s LIMIT ?')
        'SELECT "a" FROM "t" WHERE "b" IN (…) AND "c" = ? LIMIT ?'
        >>> common_form('SELECT "a" FROM "t" WHERE "b" IN ($1 ) AND "c" = $2::timestamptz LIMIT $3')
        'SELECT "a" FROM "t" WHERE "b" IN (…) AND "c" = ? LIMIT ?'
    """
    text = _VALUE.sub(_place, fingerprint.rstrip("; "))
    text = _CAST.sub("?", _SIGN.sub("?", text))
    text = _INNER_SPACE.sub("", text)
    return _ROWS.sub("(…), …", _LIST.sub("(…)", text))


def _place(found: re.Match[str]) -> str:
    if found["name"]:
        return found[0]
    return "%" if found["percent"] else "?"
