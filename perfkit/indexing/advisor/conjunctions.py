"""Conditions that all hold, and an order: the indexes that could serve them together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations
from math import prod
from typing import Final

from perfkit.indexing.advisor.columns import UNKNOWN_DISTINCT, TableFacts
from perfkit.indexing.advisor.existing import together
from perfkit.indexing.advisor.methods import other_kinds
from perfkit.indexing.advisor.scans import Condition, Match, Ordering, OrderTerm, Scan, Term
from perfkit.indexing.advisor.specs import BTREE, IndexSpec, Key
from perfkit.indexing.advisor.sqlite_writing import for_sqlite

MOST_EQUAL: Final = 4
"""Columns that are compared with one value each, beyond which a further one says little."""
RARE: Final = 0.25
"""An index of this part of the rows at most is worth a condition."""
WEAK: Final = 0.3
"""A value that this part of the rows has does little to find some."""
MOST_ORDERED: Final = 5
"""Columns of an order; a sort of what they leave equal is cheap."""
MOST_VALUES: Final = 50
"""A column of more different values has no value worth an index of its own."""
WIDEST_KEY_BYTES: Final = 250
"""On average; some would be beyond the third of a page that a B-tree takes."""
WIDEST_CARRIED_BYTES: Final = 64
MOST_CARRIED: Final = 4

_UNSORTED: Final = frozenset({"json", "xml", "tsquery", "point"})


class Conjunction:
    """The conditions of one scan, by what they are good for."""

    def __init__(
        self, table: TableFacts, scan: Scan, conditions: Iterable[Condition], settled: frozenset[str] | None
    ) -> None:
        self.table = table
        self.scan = scan
        self.settled = settled
        self.conditions = tuple(conditions)
        equal = [each for each in self._of(Match.EQUAL) if self.is_key(each.term)]
        self.equal = sorted(equal, key=lambda each: (self.frequency(each), each.term.text))
        self.several = [each for each in self._of(Match.ANY) if self.is_key(each.term)]
        self.ranges = [each for each in self._of(Match.RANGE) if self.is_key(each.term)]
        self.joins = [each for each in self._of(Match.JOIN) if self.is_key(each.term)]
        self.prefixes = [
            each
            for each in self._of(Match.PREFIX, Match.PATTERN)
            if self.is_key(each.term) and not table.is_sqlite
        ]

    @property
    def is_unique(self) -> bool:
        """Whether they name one row, which an index that is there finds."""
        named = {each.term.text for each in self.equal if not each.is_null}
        return any(
            index.is_valid and index.spec.is_unique and index.spec.keys and not index.spec.condition
            and set(index.spec.columns) <= named
            for index in self.table.indexes
        )  # fmt: skip

    def specs(self) -> list[IndexSpec]:
        """Return the indexes, the likeliest first, each once."""
        plain = list(dict.fromkeys(self._plain()))
        partial = list(dict.fromkeys(self._partial()))
        special = [] if self.table.is_sqlite else self._special()
        covering = [each for each in map(self._covering, [*plain[:5], *partial[:3]]) if each]
        found = [*plain[:4], *special, *covering[:4], *partial[:6], *plain[4:], *covering[4:], *partial[6:]]
        if self.table.is_sqlite:
            found = [written for each in found if (written := for_sqlite(each)) is not None]
        return list(dict.fromkeys(found))

    def frequency(self, condition: Condition) -> float:
        """Return the part of the rows that a condition finds, as the statistics say."""
        found = self._equal_frequency(condition)
        return 1.0 - found if condition.match is Match.OTHER else found

    def _equal_frequency(self, condition: Condition) -> float:
        if condition.term.is_expression or condition.match is Match.JSON_KEY:
            return 1 / UNKNOWN_DISTINCT
        column = self.table.columns[condition.term.text]
        if condition.is_null:
            return column.null_fraction
        filled = 1.0 - column.null_fraction
        if column.distinct is None and column.type == "boolean":
            return filled / 2
        distinct = max(column.distinct or UNKNOWN_DISTINCT, 1.0)
        if condition.value is None:
            return min(filled * condition.values / distinct, 1.0)
        rest = max(filled - sum(column.common.values()), 0.0) / max(distinct - len(column.common), 1.0)
        return min(sum(column.common.get(value, rest) for value in condition.value.split("\0")), 1.0)

    def is_key(self, term: Term) -> bool:
        """Whether a B-tree can have it."""
        if term.is_expression:
            return term.type not in _UNSORTED and term.type != "tsvector"
        column = self.table.columns[term.text]
        return column.is_sortable and column.width_bytes <= WIDEST_KEY_BYTES

    def _of(self, *matches: Match) -> list[Condition]:
        by_term = {each.term.text: each for each in reversed(self.conditions) if each.match in matches}
        return list(reversed(by_term.values()))

    def _plain(self) -> Iterator[IndexSpec]:
        """Yield B-trees of all rows."""
        main = self._keys(self.equal)
        strong = self._keys(each for each in self.equal if self.frequency(each) <= WEAK)
        several = self._keys(self.several)
        ranges = self._keys(self.ranges)
        prefixes = [self.prefix_key(each.term) for each in self.prefixes]
        orders = list(self._orders())
        for head in _each_once(main, strong):
            for order in orders:
                yield from self._btree(head, order)
            for last in (*ranges, *prefixes):
                yield from self._btree(head, several[:1], [last])
                yield from self._btree(head, [last])
            yield from self._btree(head, several)
        for join in self._keys(self.joins):
            yield from self._joined(join, main, ranges, several, orders)
        for order in orders:
            for head in _each_once(main, strong):
                yield from self._btree(head, order, [*ranges, *several, *prefixes][:2])
        for each in (*several, *ranges, *main, *prefixes):
            yield from self._btree([each])
        yield from self._mixed(main, several, ranges, orders)

    def _mixed(
        self, main: list[Key], several: list[Key], ranges: list[Key], orders: list[list[Key]]
    ) -> Iterator[IndexSpec]:
        """Yield the less likely ones: several values before an order, two ranges, an order by itself."""
        for one in several:
            for order in orders:
                yield from self._btree(main, [one], order)
                yield from self._btree(main, order, [one])
            yield from self._btree([one], main, ranges[:1])
        for one, other in permutations(ranges, 2):
            yield from self._btree(main, [one], [other])
        for order in orders:
            yield from self._btree(order)

    def _joined(
        self, join: Key, main: list[Key], ranges: list[Key], several: list[Key], orders: list[list[Key]]
    ) -> Iterator[IndexSpec]:
        """Yield what finds the rows of a row of another table."""
        yield from self._btree([join], main, ranges[:1] or several[:1])
        yield from self._btree(main, [join])
        for order in orders:
            yield from self._btree([join], main, order)
        yield from self._btree([join], main)
        yield from self._btree([join], several[:1], ranges[:1])
        others = [key for key in self._keys(self.joins) if key != join]
        if others:
            yield from self._btree([join], others)
        yield from self._btree([join])

    def _orders(self) -> Iterator[list[Key]]:
        """Yield the keys of each order that is wanted, those of which the first rows are wanted at first."""
        fixed = {each.term.text for each in self.equal}
        ranked = sorted(self.scan.orderings, key=lambda each: not each.is_limited)
        for ordering in ranked:
            keys = self._order_keys(ordering, fixed)
            if keys:
                yield keys

    def _order_keys(self, ordering: Ordering, fixed: set[str]) -> list[Key]:
        terms: list[OrderTerm] = []
        for each in ordering.terms:
            if each.term.text in fixed or any(each.term == other.term for other in terms):
                continue
            if not self.is_key(each.term):
                break
            terms.append(each)
            if (each.term.text,) == self.table.primary_key:
                break  # the rows behind it are in no order of their own
        # Read backward, an index that says nothing of directions gives the same.
        backward = all(each.descending and each.nulls_first for each in terms)
        return [self._order_key(each, backward=backward) for each in terms[:MOST_ORDERED]]

    def _order_key(self, term: OrderTerm, *, backward: bool) -> Key:
        descending = term.descending != backward
        nulls_first = term.nulls_first != backward
        is_default = nulls_first == descending or self.table.is_sqlite
        return Key(
            term.term.text,
            term.term.is_expression,
            descending=descending,
            nulls_first=None if is_default else nulls_first,
        )

    def _partial(self) -> Iterator[IndexSpec]:
        """Yield indexes of the few rows that a literal names."""
        fixed = [each for each in self.conditions if self._is_fixed(each)]
        rare = [each for each in fixed if self.frequency(each) <= RARE]
        groups = [[each] for each in rare]
        if len(fixed) > 1 and prod(map(self.frequency, fixed)) <= RARE:
            groups.insert(0, fixed)
        if 1 < len(rare) < len(fixed):
            groups.insert(1, rare)
        for group in groups:
            text = together([each.text for each in group])
            rest = tuple(each for each in self.conditions if each not in group)
            inner = Conjunction(self.table, self.scan, rest, self.settled)
            found = list(dict.fromkeys(inner._plain()))[:4]
            if not found:
                named = self.table.primary_key or (group[0].term.columns[0],)
                found = [IndexSpec(self.table.table, tuple(Key(name) for name in named))]
            for each in found:
                yield IndexSpec(each.table, each.keys, condition=text)

    def _is_fixed(self, condition: Condition) -> bool:
        """Whether a condition is of literals that stay, of a column that has few values."""
        term = condition.term
        if not condition.text or term.is_expression:
            return False
        if condition.match is Match.JSON_KEY:  # whose values are not those of the column
            return self.settled is not None and condition.text in self.settled
        is_fixed = condition.is_null or (term.type == "boolean" and condition.value is not None)
        if not is_fixed and self.settled is not None and condition.text not in self.settled:
            return False
        distinct = self.table.columns[term.text].distinct
        return is_fixed or (distinct is not None and distinct <= MOST_VALUES)

    def _special(self) -> list[IndexSpec]:
        """Return indexes of other kinds than B-trees."""
        equal = self._keys(self.equal)
        return list(
            dict.fromkeys(
                spec
                for each in self.conditions
                for spec in other_kinds(self.table, each, equal=equal, is_key=self.is_key(each.term))
            )
        )

    def _covering(self, spec: IndexSpec) -> IndexSpec | None:
        """Return an index with what else is read in it, where that is little."""
        if self.scan.reads_whole_rows or self.table.is_sqlite:
            return None
        within = {key.text for key in spec.keys}
        fixed = {each.term.text for each in self.conditions if each.text and each.text in spec.condition}
        more = [name for name in self.table.columns if name in self.scan.columns - within - fixed]
        columns = [self.table.columns[name] for name in more]
        if (
            not more
            or len(more) > MOST_CARRIED
            or sum(each.width_bytes for each in columns) > WIDEST_CARRIED_BYTES
        ):
            return None
        return IndexSpec(spec.table, spec.keys, tuple(more), spec.condition)

    def prefix_key(self, term: Term) -> Key:
        """Return the key that finds texts with a prefix."""
        if self.table.columns[term.columns[0]].is_bytewise:
            return self._key(term)
        classes = {"character varying": "varchar_pattern_ops", "character": "bpchar_pattern_ops"}
        kind = "text" if term.is_expression else term.type
        return Key(term.text, term.is_expression, classes.get(kind, "text_pattern_ops"))

    def _keys(self, conditions: Iterable[Condition]) -> list[Key]:
        return [self._key(each.term) for each in conditions][:MOST_EQUAL]

    def _key(self, term: Term) -> Key:
        return Key(term.text, term.is_expression)

    def _btree(self, *parts: Sequence[Key]) -> Iterator[IndexSpec]:
        """Yield the B-tree of some keys, each once; none where there are none."""
        keys = {key.text: key for part in reversed(parts) for key in reversed(part)}
        if keys:
            yield IndexSpec(self.table.table, tuple(reversed(keys.values())), method=BTREE)


def _each_once(*heads: list[Key]) -> list[list[Key]]:
    return [head for place, head in enumerate(heads) if head not in heads[:place]]
