"""Which rows stand after a place in an order.

# Note [Segments]
The rows after a place are those of several segments, one after the other, each of which one index finds at once:
those that tie with the place in all keys but the last ones, then those that tie in fewer, and so on.
`WHERE a > 1 OR (a = 1 AND b > 2)` is the same in one statement, but PostgreSQL reads an index from its beginning
for that. Where the last keys have no NULLs and one direction, `(a, b) > (1, 2)` is one segment of all of them.
NULLs are a segment of their own, before or after the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from django.db.models import BooleanField, F, Func, Q, Value
from django.db.models.expressions import Combinable

from perfkit.paging.keys import SortKey

COMPARES_ROWS: Final = frozenset({"postgresql", "sqlite"})
"""Databases that find the rows after `(a, b) > (1, 2)` by an index."""


class RowAfter(Func):
    """`(a, b) > (1, 2)`: whether a row stands after a place, by keys of one direction without NULLs."""

    output_field = BooleanField()
    conditional = True

    def __init__(self, *parts: Combinable, descending: bool) -> None:
        super().__init__(*parts)
        self.descending = descending

    def as_sql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, tuple[Any, ...]]:  # type: ignore[override]  # without a template
        """Return the comparison: the first half of the parts on the left side, the others on the right."""
        texts, params = [], []
        for part in self.get_source_expressions():
            text, values = compiler.compile(part)
            texts.append(text)
            params += values
        middle = len(texts) // 2
        sign = "<" if self.descending else ">"
        return f"({', '.join(texts[:middle])}) {sign} ({', '.join(texts[middle:])})", tuple(params)


def after(keys: Sequence[SortKey], values: Sequence[Any], *, vendor: str) -> list[Q]:
    """Return the conditions of the segments that stand after the place with these values, in their order.

    See Note [Segments].

    Args:
        keys: Of a total order.
        values: One for each key, or an expression of it; None where the row has none.
        vendor: Of the database.
    """
    begin = len(keys) - 1
    if vendor in COMPARES_ROWS:
        while begin > 0 and _go_together(keys[begin - 1], keys[begin]):
            begin -= 1
    segments = [_same(keys[:begin], values[:begin]) & _beyond_all(keys[begin:], values[begin:])]
    for place in reversed(range(begin)):
        same, key, value = _same(keys[:place], values[:place]), keys[place], values[place]
        if value is not None:
            segments.append(same & _beyond(key, value))
        if key.is_nullable and key.nulls_first == (value is None):
            segments.append(same & Q(**{f"{key.name}__isnull": value is not None}))
    return segments


def _go_together(key: SortKey, other: SortKey) -> bool:
    return not key.is_nullable and not other.is_nullable and key.descending == other.descending


def _same(keys: Sequence[SortKey], values: Sequence[Any]) -> Q:
    condition = Q()
    for key, value in zip(keys, values, strict=True):
        condition &= Q(**{f"{key.name}__isnull": True}) if value is None else Q(**{key.name: value})
    return condition


def _beyond(key: SortKey, value: Any) -> Q:
    return Q(**{f"{key.name}__{'lt' if key.descending else 'gt'}": value})


def _beyond_all(keys: Sequence[SortKey], values: Sequence[Any]) -> Q:
    if len(keys) == 1:
        return _beyond(keys[0], values[0])
    parts = [
        *[F(key.name) for key in keys],
        *[
            value if hasattr(value, "resolve_expression") else Value(value, output_field=key.field)
            for key, value in zip(keys, values, strict=True)
        ],
    ]
    return Q(RowAfter(*cast("list[Combinable]", parts), descending=keys[0].descending))
