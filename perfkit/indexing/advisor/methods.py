"""Which indexes that are no B-trees could serve a condition: GIN, GiST, SP-GiST, BRIN and hash. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from perfkit.indexing.advisor.columns import TableFacts
from perfkit.indexing.advisor.scans import Condition, Match, Term
from perfkit.indexing.advisor.specs import IndexSpec, Key
from perfkit.indexing.advisor.written import STRINGS

CORRELATED: Final = 0.95
"""Of a column's values with the rows' places, from where on a BRIN can leave out most of a table."""
MANY_ROWS: Final = 100_000


def other_kinds(
    table: TableFacts, condition: Condition, *, equal: Sequence[Key], is_key: bool
) -> Iterator[IndexSpec]:
    """Yield the indexes that could serve a condition, those of PostgreSQL that are no B-trees.

    Args:
        equal: Keys of what is compared with one value beside it.
        is_key: Whether a B-tree can have what it is about.
    """
    term, match = condition.term, condition.match
    if match in {Match.CONTAINS, Match.PATTERN} and "pg_trgm" in table.extensions and term.type in STRINGS:
        yield _other(table, "gin", term, "gin_trgm_ops")
    elif match is Match.JSON:
        yield _other(table, "gin", term, "jsonb_path_ops")
        yield _other(table, "gin", term)
    elif match in {Match.JSON_KEY, Match.ARRAY, Match.SEARCH}:
        yield _other(table, "gin", term)
    elif match is Match.SPAN:
        yield from _spans(table, term, equal)
    elif match is Match.EQUAL and not condition.is_null and not is_key and term.type in STRINGS:
        yield _other(table, "hash", term)  # values that are too long for a B-tree
    elif match is Match.RANGE and not term.is_expression:
        column = table.columns[term.text]
        if abs(column.correlation) >= CORRELATED and table.rows >= MANY_ROWS:
            yield _other(table, "brin", term)


def _spans(table: TableFacts, term: Term, equal: Sequence[Key]) -> Iterator[IndexSpec]:
    is_address = term.type in {"inet", "cidr"}
    by_equal = [] if is_address or "btree_gist" not in table.extensions else equal
    if by_equal:
        keys = (*by_equal, Key(term.text, term.is_expression))
        yield IndexSpec(table.table, keys, method="gist")
    yield _other(table, "gist", term, "inet_ops" if is_address else "")
    if not term.type.endswith("multirange"):
        yield _other(table, "spgist", term)


def _other(table: TableFacts, method: str, term: Term, operator_class: str = "") -> IndexSpec:
    return IndexSpec(table.table, (Key(term.text, term.is_expression, operator_class),), method=method)
