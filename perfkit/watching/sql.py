"""SQL without the values in it, for logs.

# Note [Text in double quotes]
Quoted names are kept, and in PostgreSQL `"…"` is nothing else. SQLite takes it for a string where it finds no such
name, so that raw SQL may have a value there: what is kept would then be a secret in a log, and each value would
make another fingerprint. So on SQLite a quoted name is kept only where it is known to be one:

- It stands beside a dot, or behind a word that only names follow, or in the brackets behind a table that is
  written to or a name that is given.
- The statement gives this name to something itself, by `AS`.
- A model's table or column has it.

What is no query and no write is kept whole: there SQLite takes no string for a name. Of tables that no model has a
column that stands alone becomes `?`, which hides a name and tells no value.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import pairwise
from typing import Any, Final

MAX_INPUT: Final = 20_000
"""Longer statements are cut before they are read; a literal cut in two is still a literal."""

_TOKEN: Final = re.compile(
    r"""
      (?P<kept>
          "(?:[^"]|"")*(?:"|$)              # a quoted name
        | `[^`]*(?:`|$)
        | %s | %\(\w+\)s | \$\d+(?!\w) | :[^\W\d]\w*   # a placeholder; also the type after a ::
      )
    | (?P<literal>
          [eE]'(?:[^'\\]|''|\\.)*(?:'|$)    # E'…' knows backslashes, '…' does not
        | '(?:[^']|'')*(?:'|$)
        | \$(?P<tag>\w*)\$(?:.*?\$(?P=tag)\$|.*$)
        | \d[\w.]*(?:(?<=[eE])[+-]\d+)?     # 1  1.5  1e-5  0xFF
        | \.\d[\w]*
      )
    | (?P<name> \w[\w$]* )
    | (?P<comment> -- [^\n]* )
    | (?P<block> /\* )
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK: Final = re.compile(r"/\*|\*/")
_LIST: Final = re.compile(r"\((?:\s*(?:%s|\?|%\(\w+\)s)\s*,)+\s*(?:%s|\?|%\(\w+\)s)\s*\)")
_ROWS: Final = re.compile(r"\(…\)(?:\s*,\s*\(…\))+")
_CLAUSE: Final = re.compile(
    r"""
      "(?:[^"]|"")*" | `[^`]*`
    | \bDISTINCT\ FROM\b                  # an operator
    | (?P<open> \( ) | (?P<close> \) )
    | \b(?P<select> SELECT )\b | \b(?P<source> FROM )\b
    """,
    re.VERBOSE | re.IGNORECASE,
)


_QUOTED: Final = re.compile(
    r"""
      '(?:[^']|'')*(?:'|$)
    | -- [^\n]* | /\*.*?(?:\*/|$)
    | (?P<quoted> "(?:[^"]|"")*(?:"|$) )
    | (?P<word> \w[\w$]* )
    | (?P<mark> [^\s] )
    """,
    re.VERBOSE | re.DOTALL,
)
_QUERIES: Final = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "VALUES", "EXPLAIN"})
_BEFORE_NAMES: Final = frozenset(
    {
        "AS",
        "COLLATE",
        "FROM",
        "INDEXED",
        "INTO",
        "JOIN",
        "RECURSIVE",
        "SET",
        "UPDATE",
        "USING",
        "WINDOW",
        "WITH",
    }
)
_OPENS_NAMES: Final = frozenset({"AS", "INTO", "WITH", "RECURSIVE"})
"""Words that a name with a list of names in brackets may follow."""


def normalised(sql: str, *, most: int = 500, names: Collection[str] | None = None) -> str:
    """Return `sql` on one line, in at most `most` characters, with each literal as `?` and without comments.

    A longer one loses what its SELECTs list, and then its middle: where it reads from and by what stays.
    Quoted strings, dollar-quoted strings and numbers are literals; placeholders and names stay.
    A list of placeholders becomes `(…)`, and so do the rows of a bulk INSERT.
    What a terminal would obey, as in a quoted name, becomes `�`.

    Args:
        names: On SQLite those of tables and columns, in small letters; else None.
            See Note [Text in double quotes].

    Example:
        >>> normalised("SELECT *  FROM t1 WHERE name = 'Ann' AND age > 30 AND id IN (%s, %s)")
        'SELECT * FROM t1 WHERE name = ? AND age > ? AND id IN (…)'
    """
    text = fingerprint(sql, names=names)
    if len(text) > most:
        text = _without_selected(text)
    if len(text) > most:
        head = (most - 1) // 2
        text = f"{text[:head]}…{text[head + 1 - most :]}"
    return text if text.isprintable() else "".join(each if each.isprintable() else "�" for each in text)


def fingerprint(sql: str, *, names: Collection[str] | None = None) -> str:
    """Return `sql` with each literal as `?` and lists as `(…)`; statements that differ in values have one."""
    sql = sql[:MAX_INPUT]
    if names is not None and '"' in sql:
        sql = _without_quoted_values(sql, names)
    text = " ".join(_without_values(sql).split())
    return _ROWS.sub("(…), …", _LIST.sub("(…)", text))


def literals_of(sql: str) -> list[tuple[int, str]]:
    """Return the literals in a statement, each with the place where it begins."""
    return [(match.start(), match[0]) for match in _TOKEN.finditer(sql) if match["literal"]]


def as_text(sql: Any, connection: Any) -> str:
    """Return a statement as text; psycopg also takes composed statements and bytes.

    Raises:
        ValueError: The driver cannot write it as text; the error says why, without any value.
    """
    try:
        if isinstance(sql, bytes):
            return sql.decode(errors="replace")
        return str(sql.as_string(None)) if hasattr(sql, "as_string") else str(sql)
    except (connection.Database.Error, ArithmeticError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"({type(sql).__name__} without a text: {type(error).__name__})") from error


def _without_selected(text: str) -> str:
    """Return `text` with `SELECT … FROM` for each SELECT that is not in the list of another."""
    parts: list[str] = []
    kept = depth = list_depth = 0
    list_start: int | None = None
    for match in _CLAUSE.finditer(text):
        if match["open"]:
            depth += 1
        elif match["close"]:
            depth -= 1
            if depth < list_depth:
                list_start = None  # a SELECT without FROM
        elif match["select"] and (list_start is None or depth == list_depth):
            list_start, list_depth = match.end(), depth
        elif match["source"] and list_start is not None and depth == list_depth:
            parts += [text[kept:list_start], " … "]
            kept, list_start = match.start(), None
    return "".join([*parts, text[kept:]])


def _without_quoted_values(sql: str, names: Collection[str]) -> str:
    """Return `sql` with `?` for each text in double quotes that is not known to be a name."""
    tokens = list(_QUOTED.finditer(sql))
    solid = [token for token in tokens if token.lastgroup]
    if not solid or solid[0][0].upper() not in _QUERIES:
        return sql
    given = {
        _bare(token[0])
        for before, token in pairwise(solid)
        if token["quoted"] and before[0].upper() in {"AS", "WITH", "RECURSIVE"}
    }
    given |= {
        _bare(token[0])
        for token, word, mark in zip(solid, solid[1:], solid[2:], strict=False)
        if token["quoted"] and word[0].upper() == "AS" and mark[0] in {"(", "NOT", "MATERIALIZED"}
    }
    in_names = _listed_names(solid)
    parts: list[str] = []
    kept = 0
    for place, token in enumerate(solid):
        if not token["quoted"] or place in in_names or _bare(token[0]) in given or _bare(token[0]) in names:
            continue
        before = solid[place - 1][0].upper() if place else ""
        after = solid[place + 1][0] if place + 1 < len(solid) else ""
        if "." in (before, after) or before in _BEFORE_NAMES:
            continue
        parts += [sql[kept : token.start()], "?"]
        kept = token.end()
    return "".join([*parts, sql[kept:]])


def _listed_names(solid: list[re.Match[str]]) -> set[int]:
    """Return the places of names in the brackets behind a table that is written to, or a name that is given."""
    found: set[int] = set()
    for place, token in enumerate(solid[:-2]):
        if token[0].upper() not in _OPENS_NAMES or solid[place + 2][0] != "(":
            continue
        for at in range(place + 3, len(solid)):
            if not solid[at]["quoted"] and solid[at][0] != ",":
                break
            found.add(at)
    return found


def _bare(quoted: str) -> str:
    """Return a quoted name as SQLite compares it."""
    return quoted.strip('"').replace('""', '"').lower()


def _without_values(sql: str) -> str:
    parts: list[str] = []
    position = 0
    while match := _TOKEN.search(sql, position):
        parts.append(sql[position : match.start()])
        position = match.end()
        if match.lastgroup in {"kept", "name"}:
            parts.append(match[0])
        elif match["block"]:
            position = _end_of_comment(sql, position)
            parts.append(" ")
        else:
            parts.append(" " if match["comment"] else "?")
    parts.append(sql[position:])
    return "".join(parts)


def _end_of_comment(sql: str, position: int) -> int:
    """Return where the comment ends whose inside begins at `position`; PostgreSQL's comments nest."""
    depth = 1
    while depth and (match := _BLOCK.search(sql, position)):
        depth += 1 if match[0] == "/*" else -1
        position = match.end()
    return len(sql) if depth else position
