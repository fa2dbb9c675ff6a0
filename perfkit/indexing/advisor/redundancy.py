"""Finds indexes in whose place another one serves. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial

from perfkit.indexing.advisor.findings import Confidence, Finding, Kind
from perfkit.indexing.advisor.specs import BTREE, IndexSpec
from perfkit.indexing.advisor.standing import StandingIndex


def doubles(
    indexes: Sequence[StandingIndex], *, alias: str, declared: Collection[str] = ()
) -> dict[str, Finding]:
    """Return, by name, the indexes in whose place another one that stays serves.

    Args:
        indexes: Valid ones of any tables.
        declared: Names of those that models declare, which stay rather than others.
    """
    found: dict[str, Finding] = {}
    by_table: dict[str, list[StandingIndex]] = {}
    for index in indexes:
        by_table.setdefault(index.table, []).append(index)
    for standing in by_table.values():
        # What is worth most comes first, so that it is what the others give way to.
        ranked = sorted(standing, key=partial(_worth, declared))
        for place, index in enumerate(ranked):
            if index.held_by:
                continue
            for other in ranked[:place]:
                if other.name not in found and serves_for(other, index):
                    found[index.name] = _finding(alias, index, other)
                    break
    return found


def serves_for(other: StandingIndex, index: StandingIndex) -> bool:
    """Tell whether whatever an index does, another one of its table does too."""
    mine, its = index.spec, other.spec
    if (mine.method, mine.condition) != (its.method, its.condition):
        return False
    if is_same(index, other):
        return True
    if mine.is_unique or mine.condition or mine.method != BTREE:
        return False
    count = len(mine.keys)
    if mine.keys != its.keys[:count] or not _has_prefix(other.collations, index.collations, count):
        return False
    carried = {key.text for key in its.keys if not key.is_expression} | set(its.include)
    return set(mine.include) <= carried


def is_same(index: StandingIndex, other: StandingIndex) -> bool:
    """Tell whether two indexes differ in nothing but their names, and that the other one may be unique."""
    mine, its = index.spec, other.spec
    if mine.is_unique and not its.is_unique:
        return False
    if replace(mine, is_unique=its.is_unique) != its:
        return False
    if mine.is_unique:
        return index.collations == other.collations  # among them, whether rows without a value are equal
    return _has_prefix(other.collations, index.collations, len(mine.keys))


def _has_prefix(others: str, mine: str, count: int) -> bool:
    return others.split()[:count] == mine.split()[:count]


def _worth(declared: Collection[str], index: StandingIndex) -> tuple[bool, bool, int, bool, bool, int, str]:
    return (
        not index.held_by,
        not index.spec.is_unique,
        -len(index.spec.keys),
        not index.spec.include,
        index.name not in declared,
        -(index.scans or 0),
        index.name,
    )


def _finding(alias: str, index: StandingIndex, other: StandingIndex) -> Finding:
    is_double = is_same(index, other)
    if is_double:
        reason = f"{other.name} is the same index under another name."
    else:
        reason = f"{other.name} begins with the same columns, so it serves the same queries."
    return Finding(
        Kind.DUPLICATE if is_double else Kind.REDUNDANT,
        alias,
        index.table,
        index.spec,
        f"{reason} Writes keep both up to date.",
        Confidence.CATALOGUE,
        name=index.name,
        size_bytes=index.size_bytes,
        kept_by=other.name,
        definition=index.definition,
        is_partitioned=index.is_partitioned,
    )


def displaced(spec: IndexSpec, indexes: Iterable[StandingIndex]) -> tuple[str, ...]:
    """Return the names of those that an index to add makes superfluous: it begins as they do, and carries as much.

    One of expressions is left, for whether two of them are the same, only the database can tell.
    """
    carried = {key.text for key in spec.keys} | set(spec.include)
    return tuple(
        index.name
        for index in indexes
        if index.table == spec.table and index.is_valid and not index.held_by and not index.spec.is_unique
        and spec.method == index.spec.method == BTREE and not spec.condition and not index.spec.condition
        and spec.keys[: len(index.spec.keys)] == index.spec.keys
        and not any(key.is_expression for key in index.spec.keys)
        and set(index.spec.include) <= carried
    )  # fmt: skip
