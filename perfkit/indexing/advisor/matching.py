"""How operators and patterns find rows, by the type of what they compare. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from perfkit.indexing.advisor.scans import Condition, Match
from perfkit.indexing.advisor.written import DOCUMENTS, STRINGS, TEXTS

RANGES: Final = frozenset({"<", ">", "<=", ">="})
_SPANS: Final = frozenset({"@>", "<@", "&&", "<<", ">>", "&<", "&>", "-|-"})
_SIMILAR: Final = frozenset({"%", "<%", "%>", "<<%", "%>>"})
_REGEXES: Final = frozenset({"~", "~*"})
_LEAST_TRIGRAM: Final = 3

_SIMPLE: Final = {"=": Match.EQUAL, "<>": Match.OTHER, **dict.fromkeys(RANGES, Match.RANGE)}
_OF_DOCUMENTS: Final = {
    **dict.fromkeys(("@>", "@?", "@@"), Match.JSON),
    **dict.fromkeys(("?", "?|", "?&"), Match.JSON_KEY),
}
_OF_TEXTS: Final = dict.fromkeys(_REGEXES | _SIMILAR, Match.CONTAINS)
_OF_SPANS: Final = dict.fromkeys(_SPANS, Match.SPAN)


def match_of(kind: str, operator: str) -> Match | None:
    """Return how an operator finds rows by a value of a type, None where no index knows it."""
    if kind.endswith("[]"):
        known: Mapping[str, Match] = dict.fromkeys(("@>", "<@", "&&"), Match.ARRAY)
    elif kind == "tsvector":
        known = {"@@": Match.SEARCH}
    elif kind == "json":
        known = {}
    elif kind == "jsonb":
        known = {**_SIMPLE, **_OF_DOCUMENTS}
    elif kind.endswith(("range", "inet", "cidr")):
        known = {**_SIMPLE, **_OF_SPANS}
    else:
        known = {**_SIMPLE, **_OF_TEXTS} if kind in TEXTS else _SIMPLE
    return known.get(operator)


def compared_type(kind: str) -> str:
    """Return the type as which literals are compared with one; empty where that is not certain."""
    if kind in STRINGS:
        return "text"
    if kind in {"smallint", "integer", "bigint"}:
        return "integer"
    return kind if kind in {"date", "uuid", "boolean", "numeric", "jsonb"} | (DOCUMENTS - {"json"}) else ""


def negation(condition: Condition) -> str:
    """Return the opposite of a comparison that this module has written."""
    text = condition.text
    if condition.term.type == "boolean" and not condition.term.is_expression:
        return text.removeprefix("(NOT ").removesuffix(")") if text.startswith("(NOT ") else f"(NOT {text})"
    if condition.match is Match.ANY:
        return text.replace(" = ANY (", " <> ALL (", 1)
    return text.replace(" = ", " <> ", 1)


def pattern_match(pattern: str | None, *, is_blind: bool) -> Match | None:
    """Return how LIKE with a pattern finds rows."""
    if pattern is None:
        return Match.CONTAINS if is_blind else Match.PATTERN
    parts = [""]
    is_escaped = False
    for character in pattern:
        if is_escaped:
            parts[-1] += character
            is_escaped = False
        elif character == "\\":
            is_escaped = True
        elif character in "%_":
            parts.append("")
        else:
            parts[-1] += character
    if len(parts) == 1:
        return Match.CONTAINS if is_blind else Match.PREFIX
    if parts[0] and not is_blind:
        return Match.PREFIX
    return Match.CONTAINS if max(map(len, parts)) >= _LEAST_TRIGRAM else None
