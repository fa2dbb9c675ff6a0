"""From what a statement asks of a table to the indexes that could serve it. Pure.

They are guesses, the likeliest first, for somebody to build on a copy: nothing here says that one helps.

Source:
    PostgreSQL manual, "Indexes"; Lahdenmäki and Leach, "Relational Database Index Design and the Optimizers".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Final

from perfkit.indexing.advisor.columns import TableFacts
from perfkit.indexing.advisor.conjunctions import Conjunction
from perfkit.indexing.advisor.existing import covers
from perfkit.indexing.advisor.reading import read_statement
from perfkit.indexing.advisor.scans import Condition, Match, Scan
from perfkit.indexing.advisor.specs import BTREE, IndexSpec
from perfkit.workload.shapes import QueryShape

MOST: Final = 30
"""Candidates of one statement."""

SETTLED: Final = 0.8
"""A literal that stands in this part of a statement's samples is taken for a part of the statement."""

LEAST_TAKINGS: Final = 3
"""Fewer samples tell nothing of what stays, however often the statement was sent; one taken again counts again."""


def candidates(scan: Scan, table: TableFacts, *, settled: frozenset[str] | None = None) -> list[IndexSpec]:
    """Return the indexes that could serve a scan and are not there, the likeliest first; at most `MOST`.

    Args:
        settled: Texts of the conditions that are the same in nearly every call; None where all are.
    """
    whole = Conjunction(table, scan, scan.conditions, settled)
    if whole.is_unique:
        return []
    found = dict.fromkeys(whole.specs())
    for alternative in scan.alternatives:
        for arm in alternative:
            found.update(dict.fromkeys(_of_arm(scan, arm, table, settled)))
    return [spec for spec in found if not is_there(spec, table)][:MOST]


def _of_arm(
    scan: Scan, arm: tuple[Condition, ...], table: TableFacts, settled: frozenset[str] | None
) -> list[IndexSpec]:
    """Return what serves one arm of an OR, by itself and with what holds for all of them."""
    unordered = Scan(scan.table, columns=scan.columns, reads_whole_rows=True)
    alone = Conjunction(table, unordered, arm, settled)
    specs = alone.specs()[:4]
    if scan.conditions:
        specs += Conjunction(table, unordered, (*scan.conditions, *arm), settled).specs()[:2]
    return specs


def joint_candidates(scan: Scan, table: TableFacts) -> list[tuple[IndexSpec, ...]]:
    """Return indexes that help together or not at all: of each OR one for each arm, if they are not there."""
    groups = []
    for alternative in scan.alternatives:
        firsts = [next(iter(_of_arm(scan, arm, table, None)), None) for arm in alternative]
        missing = [spec for spec in dict.fromkeys(firsts) if spec is not None and not is_there(spec, table)]
        if None not in firsts and len(missing) > 1:
            groups.append(tuple(missing))
    return list(dict.fromkeys(groups))


def is_there(spec: IndexSpec, table: TableFacts) -> bool:
    """Whether an index of the table already does all that another would."""
    if any(index.is_valid and covers(index.spec, spec) for index in table.indexes):
        return True
    if any(
        index.is_valid and index.spec.is_unique and index.spec.method == spec.method
        and (index.spec.keys, index.spec.condition) == (spec.keys, spec.condition)
        for index in table.indexes
    ):  # fmt: skip
        return True  # it must stay, and one beside it that only carries more is another one to write
    # After columns of which there is one row, nothing is left to find.
    leading = {key.text for key in spec.keys[:-1]}
    return spec.method == BTREE and any(unique <= leading for unique in unique_columns(table))


def unique_columns(table: TableFacts) -> list[frozenset[str]]:
    """Return the sets of columns of which each value is in one row alone."""
    return [
        frozenset(index.spec.columns)
        for index in table.indexes
        if index.is_valid and index.spec.is_unique and index.spec.keys and not index.spec.condition
        and not any(key.is_expression for key in index.spec.keys)
    ]  # fmt: skip


def candidates_for(
    shapes: Iterable[QueryShape], facts: Mapping[str, TableFacts]
) -> dict[str, tuple[IndexSpec, ...]]:
    """Return the candidates of each statement by its fingerprint, at most `MOST`, the likeliest first.

    A statement that cannot be read is not in the answer; one that needs no further index has an empty tuple.
    Without samples the fingerprint itself is read, of which no value is known.
    """
    return {
        shape.fingerprint: tuple(found) for shape in shapes if (found := _of_shape(shape, facts)) is not None
    }


def joint_candidates_for(
    shapes: Iterable[QueryShape], facts: Mapping[str, TableFacts]
) -> dict[str, tuple[tuple[IndexSpec, ...], ...]]:
    """Return by its fingerprint, for each statement that has some, the candidates that help only together.

    They are those of the arms of an OR: PostgreSQL joins what their indexes find, and needs each of them.
    """
    schema = {name: table.types for name, table in facts.items()}
    is_sqlite = any(table.is_sqlite for table in facts.values())
    found = {}
    for shape in shapes:
        readings = (read_statement(sql, schema, is_sqlite=is_sqlite) for sql in _texts(shape))
        scans = dict.fromkeys(chain.from_iterable(reading.scans for reading in readings))
        groups = dict.fromkeys(group for scan in scans for group in joint_candidates(scan, facts[scan.table]))
        if groups:
            found[shape.fingerprint] = tuple(groups)
    return found


def unread(shapes: Iterable[QueryShape], facts: Mapping[str, TableFacts]) -> dict[str, str]:
    """Return by its fingerprint why a statement cannot be read; the reason has no value in it."""
    schema = {name: table.types for name, table in facts.items()}
    is_sqlite = any(table.is_sqlite for table in facts.values())
    reasons = {}
    for shape in shapes:
        readings = [read_statement(sql, schema, is_sqlite=is_sqlite) for sql in _texts(shape)]
        if all(reading.unread for reading in readings):
            reasons[shape.fingerprint] = readings[0].unread
    return reasons


def _texts(shape: QueryShape) -> tuple[str, ...]:
    """Return what there is to read of a statement, the newest first."""
    return tuple(dict.fromkeys(reversed(shape.samples))) or (shape.fingerprint,)


def _of_shape(shape: QueryShape, facts: Mapping[str, TableFacts]) -> list[IndexSpec] | None:
    schema = {name: table.types for name, table in facts.items()}
    is_sqlite = any(table.is_sqlite for table in facts.values())
    readings = [read_statement(sql, schema, is_sqlite=is_sqlite) for sql in _texts(shape)]
    read = [reading for reading in readings if not reading.unread]
    if not read:
        return None
    takings = max(shape.takings, len(shape.samples))
    settled = _settled([reading.scans for reading in read], takings=takings)
    scans = dict.fromkeys(chain.from_iterable(reading.scans for reading in read))
    by_scan = [candidates(scan, facts[scan.table], settled=settled) for scan in scans]
    in_turn = chain.from_iterable(zip_longest(*by_scan))
    return list(dict.fromkeys(spec for spec in in_turn if spec is not None))[:MOST]


def _settled(samples: Sequence[Sequence[Scan]], *, takings: int) -> frozenset[str]:
    """Return the texts of conditions that are in nearly all samples; none where too few were taken to tell.

    A key of documents may be a text that somebody typed, so it must be in samples that differ.
    """
    if takings < LEAST_TAKINGS:
        return frozenset()
    has_few = len(samples) < LEAST_TAKINGS
    counts: Counter[str] = Counter()
    for scans in samples:
        counts.update(
            {
                each.text
                for scan in scans
                for each in _all_conditions(scan)
                if each.text and not (has_few and each.match is Match.JSON_KEY)
            }
        )
    return frozenset(text for text, count in counts.items() if count >= SETTLED * len(samples))


def _all_conditions(scan: Scan) -> Iterable[Condition]:
    yield from scan.conditions
    for alternative in scan.alternatives:
        for arm in alternative:
            yield from arm


def merged(specs: Iterable[IndexSpec]) -> tuple[IndexSpec, ...]:
    """Return fewer indexes that do what all of these do, in their order.

    One that another begins with is left out, and those that differ in what they carry become one.
    """
    wanted = list(dict.fromkeys(specs))
    carried: dict[IndexSpec, dict[str, None]] = {}
    for spec in wanted:
        bare = IndexSpec(spec.table, spec.keys, (), spec.condition, spec.method, spec.is_unique)
        carried.setdefault(bare, {}).update(dict.fromkeys(spec.include))
    joined = [
        IndexSpec(bare.table, bare.keys, tuple(include), bare.condition, bare.method, bare.is_unique)
        for bare, include in carried.items()
    ]
    kept: list[IndexSpec] = []
    for place, spec in enumerate(joined):
        others = [each for each in (*kept, *joined[place + 1 :]) if each.table == spec.table]
        if not any(covers(each, spec) for each in others):
            kept.append(spec)
    return tuple(kept)
