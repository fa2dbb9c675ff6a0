"""What the rows of a file refer to within their own table: rows that it has, or that the file brings in any order.

# Note [References within a table]

A row may refer to one that comes later in the file, and the database checks that only at the end, when it knows no
line any more. So what rows refer to is noted as they are written, and asked for once all of them are.
Where something is missing, all is taken back and tried again without the rows at fault, which are then told like
any that is wrong; so are those that refer to them in turn. What was tried last is exactly what is told.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from perfkit.admin.relations import Relation
from perfkit.admin.rows import Values

Reference = tuple[str, Any]
"""The name of the relation, and the value of what it refers to."""


class Referring(NamedTuple):
    """A row of the file: what it refers to, and what others may by it."""

    line: int
    refers: list[Reference]
    brings: list[Reference]


class OwnTable:
    """Notes what rows refer to within their table. See Note [References within a table]."""

    def __init__(self, relations: Sequence[Relation], alias: str) -> None:
        self._relations = relations
        self._alias = alias
        self._rows: dict[int, Referring] = {}

    def note(self, number: int, line: int, values: Values) -> None:
        """Take a row that is about to be written."""
        if not self._relations:
            return
        refers = [(each.name, values.get(each.attname)) for each in self._relations]
        brings = [(each.name, values.get(each.target)) for each in self._relations]
        self._rows[number] = Referring(line, _filled(refers), _filled(brings))

    def drop(self, number: int) -> None:
        """Forget a row that was refused by the database."""
        self._rows.pop(number, None)

    def missing(self) -> set[Reference]:
        """Return what rows refer to and may not, now that they are written.

        Queries: One per relation and 1,000 values.
        """
        wanted = {reference for row in self._rows.values() for reference in row.refers}
        return wanted - self._allowed(wanted)

    def at_fault(self, missing: Collection[Reference]) -> dict[int, list[str]]:
        """Return the relations that are wrong by the line of their row, once nothing is written any more.

        Queries: As `missing`.
        """
        wanted = {reference for row in self._rows.values() for reference in row.refers}
        return dangling(list(self._rows.values()), missing, kept=self._allowed(wanted))

    def _allowed(self, wanted: Iterable[Reference]) -> set[Reference]:
        values: dict[str, set[Any]] = defaultdict(set)
        for name, value in wanted:
            values[name].add(value)
        return {
            (relation.name, value)
            for relation in self._relations
            for value in relation.keys(values[relation.name], self._alias)
        }


def _filled(references: Iterable[Reference]) -> list[Reference]:
    return [(name, value) for name, value in references if value is not None]


def dangling(
    rows: Sequence[Referring], missing: Iterable[Reference], *, kept: Collection[Reference]
) -> dict[int, list[str]]:
    """Return by its line the relations of each row that refer to what is missing, or brought by such a row. Pure.

    Args:
        kept: What may be referred to whatever the file brings.
    """
    referring: dict[Reference, list[Referring]] = defaultdict(list)
    for row in rows:
        for reference in row.refers:
            referring[reference].append(row)
    brought = Counter(reference for row in rows for reference in row.brings)
    found: dict[int, list[str]] = {}
    lost = list(missing)
    while lost:
        reference = lost.pop()
        for row in referring.pop(reference, ()):
            if row.line not in found:
                brought.subtract(row.brings)
                lost += [each for each in row.brings if not brought[each] and each not in kept]
            found.setdefault(row.line, []).append(reference[0])
    return found
