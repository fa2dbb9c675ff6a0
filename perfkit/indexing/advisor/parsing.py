"""Brings a statement before PostgreSQL's parser: a real one, one without its values, or one of SQLite."""

from __future__ import annotations

import re
from typing import Any, Final

from perfkit.indexing.advisor.grammar import ParseError, parse_sql

_OPERAND_AHEAD: Final = re.compile(
    r"all|and|any|as|between|by|case|distinct|else|end|except|fetch|first|from|full|having|ilike|in|inner|intersect"
    r"|is|join|left|like|limit|next|not|offset|on|only|or|return|returning|select|set|similar|some|then|to|union"
    r"|using|values|when|where|with|escape|zone",
    re.IGNORECASE,
)
"""Words after which a value stands, so that a `?` is one, and not the operator."""

_TOKEN: Final = re.compile(
    r"""
      (?P<quoted> "(?:[^"]|"")*" | [eE]'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
    | (?P<comment> --[^\n]* | /\*.*?\*/ )
    | (?P<list> \(…\)(?:,\s…)? )
    | (?P<percent> %%)
    | (?P<mark> %s | %\(\w+\)s )
    | (?P<question> \?[|&](?!\|) | \? )
    | (?P<sqlite> \b(?:REGEXP|GLOB)\b | :(?<!::)[A-Za-z_]\w* )
    | (?P<word> \w+ )
    | (?P<space> \s+ )
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


def parse(sql: str, *, is_sqlite: bool = False) -> tuple[Any, ...] | None:
    """Return the statements of a text, as pglast's nodes; None where it is none that PostgreSQL's parser can read.

    Placeholders, and the question marks of a statement without its values, become parameters.
    """
    if "\0" in sql:
        return None
    sql = sql.replace("/*, ... */", ", NULL")  # so pg_stat_statements shortens a list, from PostgreSQL 18 on
    texts = [numbered(sql, is_sqlite=is_sqlite)]
    if "…" not in sql:  # which PostgreSQL takes for a name
        texts.insert(0, sql)
    for text in dict.fromkeys(texts):
        try:
            return tuple(raw.stmt for raw in parse_sql(text))
        except (ParseError, UnicodeError, RecursionError):
            continue
    return None


def numbered(sql: str, *, is_sqlite: bool = False) -> str:
    """Return a statement with its placeholders as `$1`, `$2` and so on."""
    parts: list[str] = []
    count = position = 0
    before = ""
    for match in _TOKEN.finditer(sql):
        between = sql[position : match.start()]
        parts.append(between)
        before = between.strip()[-1:] or before
        position = match.end()
        text, kind = match[0], match.lastgroup
        if kind == "tag":
            kind = "quoted"
        if kind in {"space", "comment"}:
            parts.append(" ")
            continue
        is_operand = _awaits_operand(before)
        if kind == "list":
            parts.append(f"(${count + 1}, ${count + 2})")
            count += 2
            before = ")"
        elif kind == "percent":
            parts.append("%")
            before = "%"
        elif kind == "mark" or (text == "?" and (is_sqlite or is_operand)):
            count += 1
            parts.append(f"${count}")
            before = ")"
        elif kind == "sqlite" and is_sqlite:
            operator = {"REGEXP": "~", "GLOB": "~~"}.get(text.upper())
            count += operator is None
            parts.append(operator or f"${count}")
            before = operator or ")"
        else:
            parts.append(text)
            before = text if kind in {"word", "sqlite"} else text[-1:]
    parts.append(sql[position:])
    return "".join(parts)


def _awaits_operand(before: str) -> bool:
    """Whether a value follows, where `before` is the last token or its last character."""
    if before.isidentifier():
        return bool(_OPERAND_AHEAD.fullmatch(before))
    return before not in {")", "]", '"', "'"}
