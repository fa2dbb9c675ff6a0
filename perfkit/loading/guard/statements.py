"""What tells one execution of a statement from another: the values that a loop would change.

# Note [What makes a loop]
The same statement, sent by the same path of calls with other values, is a loop. Not so:
  - values in a list of several (`IN (…)`, an array) are a batch, and so are the rows of one INSERT,
    the bounds of a range (`BETWEEN`, or from both sides), and whatever takes more than 20,000 characters;
  - LIMIT and OFFSET are pages, and so is a bound on a column (`id > …`) of an ordered statement
    that takes more than one row: each page begins where the last one ended;
  - what an UPDATE sets: a retry, or the time of day, changes it for one and the same row.
Pure: it reads the text of statements.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from perfkit.watching import fingerprint, literals_of

LOOKED_AT: Final = frozenset(
    {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "MERGE", "REPLACE", "CALL", "VALUES"}
)
"""First words of statements that read or write rows; savepoints and settings are none."""

MOST_CHARACTERS: Final = 20_000
MOST_KEPT: Final = 4_000

_FIRST_WORD: Final = re.compile(r"(?>\s+|\(|--[^\n]*\n|/\*.*?\*/)*+(\w+)", re.DOTALL)
_QUOTED: Final = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|%%")
_PLACEHOLDER: Final = re.compile(r"%s|%\((\w+)\)s")
_PLACE: Final = r"(?:%s|%\(\w+\)s)"
_LITERAL: Final = r"(?:\?+|\d+)"
_BATCH: Final = re.compile(
    rf"\bIN\s*\(\s*{_PLACE}(?:\s*,\s*{_PLACE})+\s*\)|\bARRAY\s*\[[^\]]*\]", re.IGNORECASE
)
_LITERAL_BATCH: Final = re.compile(rf"\bIN\s*\(\s*{_LITERAL}(?:\s*,\s*{_LITERAL})+\s*\)", re.IGNORECASE)
_PAGE: Final = re.compile(rf"\b(?:LIMIT|OFFSET)\s+(?:{_PLACE}|\d+)", re.IGNORECASE)
_BETWEEN: Final = re.compile(rf"\bBETWEEN\s+{_PLACE}\s+AND\s+{_PLACE}", re.IGNORECASE)
_COMPARED: Final = re.compile(rf"(?P<column>[\w.\"`]+)\s*(?P<sign>[<>])=?\s*(?P<value>{_PLACE})")
_LIMIT: Final = re.compile(r"\bLIMIT\s+(\d+|%)", re.IGNORECASE)
_BOUND: Final = re.compile(rf"[<>]=?\s*\(?\s*{_PLACE}", re.IGNORECASE)
_ROWS: Final = re.compile(r"\bVALUES\s*\((?:[^()]|\([^()]*\))*\)\s*,\s*\(", re.IGNORECASE)
_WHERE: Final = re.compile(r"(?P<open>\()|(?P<close>\))|\bWHERE\b", re.IGNORECASE)
_OWN_TABLES: Final = re.compile(r"\bperfkit_\w+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statement:
    """One text of SQL, read once.

    Attributes:
        text: Without literals; the same for statements that differ in values alone.
        counted: The parameters, by position or name, whose values make an execution another one.
        literals: A number for the literals in the text that do so.
    """

    text: str
    counted: tuple[int | str, ...]
    literals: int

    def values(self, params: Any) -> int:
        """Return a number for what makes this execution another one; the same for the same values.

        Values that cannot be hashed are told apart by their text, lists are batches.
        """
        found: list[Any] = [self.literals]
        if params:
            for place in self.counted:
                value = _value(params, place)
                if not isinstance(value, list):
                    found.append(value)
        try:
            return hash(tuple(found))
        except TypeError:
            return hash(repr(found))


def statement(sql: str) -> Statement | None:
    """Return what is to be known of a statement; None where it makes no loop, however often it is sent.

    See Note [What makes a loop]. What is long, or holds texts, is not kept in memory.
    """
    if len(sql) > MOST_CHARACTERS:
        return None
    return _kept(sql) if len(sql) <= MOST_KEPT and "'" not in sql else _read(sql)


def _read(sql: str) -> Statement | None:
    first = _FIRST_WORD.match(sql)
    verb = first[1].upper() if first else ""
    if verb not in LOOKED_AT or _OWN_TABLES.search(sql):
        return None
    plain = _QUOTED.sub(_blank, sql)
    if verb in {"INSERT", "REPLACE"} and _ROWS.search(plain):
        return None
    limit = _LIMIT.search(plain)
    takes_many = limit is not None and limit[1] != "1"
    if verb != "UPDATE" and takes_many and "ORDER BY" in plain.upper() and _BOUND.search(plain):
        return None
    ignored = [match.span() for pattern in (_BATCH, _PAGE, _BETWEEN) for match in pattern.finditer(plain)]
    ignored += _ranges(sql)
    if verb == "UPDATE":
        ignored.append((0, _condition(plain)))
    counted: list[int | str] = []
    for position, match in enumerate(_PLACEHOLDER.finditer(plain)):
        if not any(start <= match.start() < end for start, end in ignored):
            counted.append(match[1] or position)
    return Statement(fingerprint(_PAGE.sub("LIMIT …", sql)), tuple(counted), _literals(sql, plain))


_kept = lru_cache(maxsize=4096)(_read)


def _ranges(sql: str) -> list[tuple[int, int]]:
    """Return where columns are compared that are bounded from both sides."""
    found = list(_COMPARED.finditer(sql))
    sides = {(match["column"], match["sign"][0]) for match in found}
    return [
        match.span("value") for match in found if {(match["column"], "<"), (match["column"], ">")} <= sides
    ]


def _value(params: Sequence[Any] | Mapping[str, Any], place: int | str) -> Any:
    """Return the value of one placeholder; None where the driver will refuse the statement for lack of it."""
    if isinstance(params, Mapping):
        return params.get(str(place))
    return params[place] if isinstance(place, int) and place < len(params) else None


def _condition(plain: str) -> int:
    """Return where the condition of an UPDATE begins, its end where it has none."""
    depth = 0
    for match in _WHERE.finditer(plain):
        if match["open"]:
            depth += 1
        elif match["close"]:
            depth -= 1
        elif not depth:
            return match.start()
    return len(plain)


def _literals(sql: str, plain: str) -> int:
    """Return a number for the literals in a statement, without those of pages and batches."""
    ignored = [match.span() for pattern in (_LITERAL_BATCH, _PAGE) for match in pattern.finditer(plain)]
    return hash(
        tuple(
            text
            for place, text in literals_of(sql)
            if not any(start <= place < end for start, end in ignored)
        )
    )


def _blank(match: re.Match[str]) -> str:
    """Return as many characters, so that what is found in the rest stands where it stands in the whole."""
    text = match[0]
    return "?" * len(text) if text[0] != "%" else "  "
