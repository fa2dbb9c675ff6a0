"""What a statement asks of one table: conditions, orders, and the columns it reads. Pure.

Values of the statement are in here, since which rows they find decides which index serves; no `repr` shows them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Match(StrEnum):
    """How a condition finds rows."""

    EQUAL = "equal"
    """One value: `=`, IS NULL, a boolean column by itself, an IN of one value."""
    ANY = "any"
    """One of several values."""
    JOIN = "join"
    """Equal to a column of another table of the same FROM."""
    RANGE = "range"
    PREFIX = "prefix"
    """A text that begins with something."""
    CONTAINS = "contains"
    """A text with something in it: LIKE, ILIKE, regular expressions, similarity."""
    PATTERN = "pattern"
    """LIKE with a pattern that is not known: a prefix, or something within."""
    JSON = "json"
    """`@>` and paths of a document."""
    JSON_KEY = "json key"
    """`?`, `?|` and `?&` of a document."""
    ARRAY = "array"
    """`@>`, `<@` and `&&` of an array."""
    SEARCH = "search"
    """`@@` of a full text."""
    SPAN = "span"
    """`@>`, `<@`, `&&` and the like of a range type."""
    OTHER = "other"
    """What finds no rows by itself: `<>`, NOT IN, IS NOT NULL. It may be the condition of a partial index."""


@dataclass(frozen=True, slots=True)
class Term:
    """What a key of an index may be: a column, or an expression that always gives the same for the same row.

    Attributes:
        text: The column's name, or the expression in PostgreSQL's own writing without the outer brackets.
        type: As PostgreSQL writes it, without what stands in brackets.
        columns: What it is made of.
    """

    text: str
    type: str
    columns: tuple[str, ...]
    is_expression: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on one table.

    Attributes:
        text: The whole as SQL in PostgreSQL's own writing, where it holds literals only; empty otherwise.
        value: The literal that the term equals, as PostgreSQL writes it; None where it is not known.
        values: How many values an IN has.
        is_null: Whether it is IS NULL, or IS NOT NULL where the match is OTHER.
    """

    match: Match
    term: Term
    text: str = field(default="", repr=False)
    value: str | None = field(default=None, repr=False)
    values: int = 1
    is_null: bool = False


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """One term of an order; `nulls_first` is as asked, or the direction's default."""

    term: Term
    descending: bool = False
    nulls_first: bool = False


class Purpose(StrEnum):
    """What rows are wanted in an order for."""

    SORT = "sort"
    GROUP = "group"
    WINDOW = "window"
    EXTREME = "extreme"
    """MIN or MAX."""


@dataclass(frozen=True, slots=True)
class Ordering:
    """An order in which rows are wanted.

    Attributes:
        is_limited: Whether only the first rows are.
        is_whole: False where terms of other tables follow.
    """

    purpose: Purpose
    terms: tuple[OrderTerm, ...]
    is_limited: bool = False
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Scan:
    """One use of one table in a statement.

    Attributes:
        conditions: All of them hold.
        alternatives: Of each OR its arms, and of each arm the conditions on this table.
        columns: That are read, whatever for.
        reads_whole_rows: Whether an index alone can never do, since rows are locked, written or read with `*`.
    """

    table: str
    conditions: tuple[Condition, ...] = ()
    alternatives: tuple[tuple[tuple[Condition, ...], ...], ...] = ()
    orderings: tuple[Ordering, ...] = ()
    columns: frozenset[str] = frozenset()
    reads_whole_rows: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """A statement's scans, or why it cannot be read; the reason has nothing of the statement in it."""

    scans: tuple[Scan, ...] = ()
    unread: str = ""
