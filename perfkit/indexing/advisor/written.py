"""Expressions as text with their types, in PostgreSQL's own writing. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from perfkit.indexing.advisor.grammar import COL_NAME_KEYWORDS, RESERVED_KEYWORDS, TYPE_FUNC_NAME_KEYWORDS
from perfkit.indexing.advisor.scans import Term

_KEYWORDS: Final = COL_NAME_KEYWORDS | RESERVED_KEYWORDS | TYPE_FUNC_NAME_KEYWORDS
PLAIN_NAME: Final = re.compile(r"[a-z_][a-z0-9_$]*\Z")

TEXTS: Final = frozenset({"text", "character varying", "character", "citext", "name"})
STRINGS: Final = frozenset({"text", "character varying"})
"""Those that functions of text take as they are."""
INTEGERS: Final = frozenset({"smallint", "integer", "bigint"})
NUMBERS: Final = INTEGERS | {"numeric", "real", "double precision"}
DOCUMENTS: Final = frozenset({"jsonb", "json"})


@dataclass(frozen=True, slots=True)
class Written:
    """An expression as text.

    Attributes:
        text: With the brackets that it needs within another one.
        type: As PostgreSQL writes it; empty for a literal whose type its surroundings decide.
        sources: Whose columns it is made of.
        value: Of a literal.
    """

    text: str = field(repr=False)
    type: str = ""
    sources: frozenset[Any] = frozenset()
    columns: tuple[str, ...] = ()
    is_column: bool = False
    value: str | None = field(default=None, repr=False)
    is_literal: bool = False

    @property
    def bare(self) -> str:
        """The text without the outer brackets."""
        return self.text[1:-1] if self.text.startswith("(") and _is_bracketed(self.text) else self.text

    def term(self) -> Term:
        """Return it as what a key may be."""
        if self.is_column:
            return Term(self.columns[0], self.type, self.columns)
        return Term(self.bare, self.type, self.columns, is_expression=True)


def quoted(name: str) -> str:
    """Return a name as PostgreSQL writes it: in quotes only where it must be."""
    if PLAIN_NAME.match(name) and name not in _KEYWORDS:
        return name
    return '"' + name.replace('"', '""') + '"'


def base_type(name: str) -> str:
    """Return a type without what stands in brackets: `character varying` of `character varying(20)`."""
    return re.sub(r"\([^)]*\)", "", name).strip()


def literal(text: str) -> str:
    """Return a text as a literal."""
    return "'" + text.replace("'", "''") + "'"


def as_type(written: Written, wanted: str) -> str:
    """Return the text of an operand where `wanted` is compared: a literal says its type, a text its own."""
    if written.is_literal:
        if written.type or written.value is None:
            return written.text
        return f"{written.text}::{wanted}" if written.text.startswith("'") else written.text
    if wanted == "text" and written.type == "character varying":
        return f"({written.text})::text"
    return written.text


def made(text: str, kind: str, *parts: Written) -> Written:
    """Return an expression made of others."""
    sources = frozenset().union(*(part.sources for part in parts))
    columns = tuple(dict.fromkeys(name for part in parts for name in part.columns))
    return Written(text, kind, sources, columns)


def _is_bracketed(text: str) -> bool:
    """Whether the first bracket closes at the very end."""
    depth = 0
    quote = ""
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "()":
            depth += 1 if character == "(" else -1
            if not depth:
                return place == len(text) - 1
    return False
