"""All indexes that could serve a statement, in the plain sense: columns in any order, and what its author named.

This reads a statement with a few patterns, for it knows who wrote it: Django. It shares nothing with the advisor.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final

from benchmarks.advisor.shape import Shape

WIDEST: Final = 3
"""Most keys of one index."""

ITEM: Final = r'(?:"\w+"|\b[A-Z]\d+)\."\w+"(?: AS "\w+")?'
PLAIN_LIST: Final = re.compile(rf"(SELECT (?:DISTINCT (?:ON \([^()]*\) )?)?){ITEM}(?:, {ITEM})*")
SHORT_DISTINCT: Final = re.compile(rf"SELECT DISTINCT {ITEM}(?:, {ITEM})? FROM")
GROUPED: Final = re.compile(r" GROUP BY \d")
"""By what stands in the list of what is read."""
TABLE: Final = re.compile(r'(?:FROM|JOIN|UPDATE) "(shop_\w+)"(?: "?([A-Z]\d+)"?(?!\w))?')
COLUMN: Final = re.compile(r'(?:"(\w+)"|\b([A-Z]\d+))\."(\w+)"')
SORTED: Final = re.compile(r'(?:"(\w+)"|\b([A-Z]\d+))\."(\w+)" (ASC|DESC)(?: NULLS (FIRST|LAST))?')


@dataclass(frozen=True, slots=True)
class Possible:
    """One index.

    Attributes:
        keys: As in CREATE INDEX, with direction and operator class.
        method: With `extra`, what follows the table's name, as a whole.
    """

    table: str
    keys: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    where: str = ""
    extra: str = ""

    @property
    def width(self) -> float:
        """How much it takes to describe it: the fewer the better."""
        sorted_keys = sum(" " in key for key in self.keys) / 2
        return len(self.keys) + sorted_keys + len(self.include) + bool(self.where) + (2 if self.extra else 0)

    @property
    def is_plain(self) -> bool:
        """Whether it is a btree of columns and nothing else, all ascending."""
        return (
            not self.include
            and not self.where
            and not self.extra
            and all(k.isidentifier() for k in self.keys)
        )

    @property
    def ddl(self) -> str:
        """Return the statement that builds it."""
        if self.extra:
            return f"CREATE INDEX ON {self.table} {self.extra}"
        include = f" INCLUDE ({', '.join(self.include)})" if self.include else ""
        where = f" WHERE {self.where}" if self.where else ""
        return f"CREATE INDEX ON {self.table} ({', '.join(self.keys)}){include}{where}"


def used_columns(statement: str) -> dict[str, list[str]]:
    """Return the columns that stand elsewhere than in a list of what is read, by table, in order."""
    aliases = _aliases(statement)
    is_used = SHORT_DISTINCT.match(statement) or GROUPED.search(statement)
    rest = statement if is_used else PLAIN_LIST.sub(r"\1", statement)
    found: dict[str, list[str]] = defaultdict(list)
    for quoted, bare, column in COLUMN.findall(rest):
        table = aliases.get(quoted or bare)
        if table is not None and column not in found[table]:
            found[table].append(column)
    return dict(found)


def sort_keys(statement: str) -> dict[str, dict[str, str]]:
    """Return the columns that it sorts by, by table, as keys of an index in the same order."""
    aliases = _aliases(statement)
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for quoted, bare, column, direction, nulls in SORTED.findall(statement):
        table = aliases.get(quoted or bare)
        if table is not None:
            parts = [
                column,
                *(["DESC"] if direction == "DESC" else []),
                *([f"NULLS {nulls}"] if nulls else []),
            ]
            found[table][column] = " ".join(parts)
    return dict(found)


def first_choice(shape: Shape, statement: str) -> list[Possible]:
    """Return every order of up to three keys, plain and as it is sorted, and what the author named whole."""
    found: dict[Possible, None] = {}
    directions = sort_keys(statement)
    for table, columns in used_columns(statement).items():
        for keys in _orders([*columns, *shape.keys.get(table, ())]):
            if keys[0] == "id":
                continue  # the primary key begins with it
            found[Possible(table, keys)] = None
            found[Possible(table, tuple(directions.get(table, {}).get(key, key) for key in keys))] = None
    for text in shape.extra:
        table, _, rest = text.partition(" ")
        found[Possible(table, extra=rest)] = None
    return list(found)


def variants(shape: Shape, chosen: Sequence[Possible], every: Sequence[Possible]) -> list[Possible]:
    """Return the chosen ones with conditions and carried columns, and all short ones with conditions."""
    found: dict[Possible, None] = {}
    short = [each for each in every if each.keys and len(each.keys) <= 2]
    for each in [*chosen, *short]:
        for where in shape.where.get(each.table, ()):
            if each.keys:
                found[Possible(each.table, each.keys, (), where)] = None
    for each in chosen:
        carried = tuple(c for c in shape.carried.get(each.table, ()) if c not in each.keys)
        if carried and each.keys:
            for where in ("", *shape.where.get(each.table, ())):
                found[Possible(each.table, each.keys, carried, where)] = None
    return list(found)


def _orders(keys: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for width in range(1, min(WIDEST, len(keys)) + 1):
        for order in permutations(keys, width):
            names = [key.partition(" ")[0] for key in order]
            if len(set(names)) == len(names):
                yield order


def _aliases(statement: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for table, alias in TABLE.findall(statement):
        found[alias or table] = table
    return found
