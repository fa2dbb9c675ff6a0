"""Judges the indexes of a database by its catalogue and statistics. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from django.template.defaultfilters import filesizeformat

from perfkit.indexing.advisor.bloat import wasted_part
from perfkit.indexing.advisor.findings import Confidence, Finding, Kind
from perfkit.indexing.advisor.redundancy import doubles
from perfkit.indexing.advisor.specs import IndexSpec, Key
from perfkit.indexing.advisor.standing import Inventory, Reference, Sighting, StandingIndex

MEASURED_INDEXES: Final = 10
"""Most indexes of one run whose pages are counted, for that reads them whole."""

LARGEST_MEASURED_BYTES: Final = 256_000_000
"""A larger one is estimated: reading it would take long, and push what others read out of memory."""


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on something is worth a word.

    Attributes:
        unused_days: How long an index was there and not read; 0 asks for no age.
        unused_bytes: Of an index that is not read.
        bloat_part: Of an index, that no row needs.
        hardly_used: The part of the reads of a table that an index serves, at most.
        dominant: The part of the rows that have one value.
        few_values: How many values are few.
        joining_bytes: Of a double index of a table that Django makes between two others, of which each has one.
        reference_rows: Of a table whose foreign key has no index.
    """

    unused_days: float = 7.0
    unused_bytes: int = 65_536
    bloat_bytes: int = 10_000_000
    bloat_part: float = 0.5
    hardly_used: float = 0.01
    dominant: float = 0.9
    few_values: int = 3
    joining_bytes: int = 10_000_000
    reference_rows: int = 1_000


@dataclass(frozen=True, slots=True)
class Replicas:
    """What replicas say, which count by themselves.

    Attributes:
        aliases: That were asked.
        scans: How often each index was read on all of them.
        age: How long the youngest of their statistics has been kept.
    """

    aliases: tuple[str, ...] = ()
    scans: Mapping[str, int] | None = None
    age: dt.timedelta | None = None


def inspected(
    inventory: Inventory,
    *,
    limits: Limits,
    replicas: Replicas,
    seen: Mapping[str, Sighting] | None = None,
    left_alone: Collection[str] = (),
    joining: Collection[str] = (),
    declared: Collection[str] = (),
    relied_on: Mapping[str, str] | None = None,
    joined: Callable[[Reference], bool] = lambda _: False,
    density: Callable[[StandingIndex], float | None] = lambda _: None,
) -> Iterator[Finding]:
    """Yield what is found in an inventory, each index once, by what matters most about it. Pure.

    Args:
        seen: By the name of an index, when it was seen first; see Note [The age of an index] in `sightings`.
        left_alone: Tables whose indexes are not called superfluous.
        joining: Tables that Django makes between two others.
        declared: Names of indexes that models declare.
        relied_on: By the name of an index, the list that sorts or filters by it.
        joined: Tells whether statements join tables by a foreign key.
        density: Measures which part of an index's pages is filled; None where it cannot.
    """
    valid = [each for each in inventory.indexes if each.is_valid and each.table not in left_alone]
    superfluous = {
        name: each
        for name, each in doubles(valid, alias=inventory.alias, declared=declared).items()
        if each.table not in joining or (each.size_bytes or 0) >= limits.joining_bytes
    }
    measure = _Measure(density)
    seen = seen or {}
    for index in inventory.indexes:
        may_go = index.table not in left_alone and index.name not in (relied_on or {})
        if index.name in inventory.invalid:
            yield _finding(inventory, index, Kind.INVALID, INVALID)
        elif not index.is_valid:
            continue
        elif found := superfluous.get(index.name):
            yield found
        elif may_go and (reason := _unused(inventory, index, limits, replicas, seen.get(index.name))):
            yield _finding(inventory, index, Kind.UNUSED, reason)
        elif may_go and (reason := _unselective(inventory, index, limits, replicas, seen.get(index.name))):
            yield _finding(inventory, index, Kind.UNSELECTIVE, reason)
        elif reason := _bloated(index, limits, measure):
            yield _finding(inventory, index, Kind.BLOATED, reason)
    for reference in inventory.references:
        if reason := _unserved(inventory, reference, limits, is_joined=joined(reference)):
            spec = IndexSpec(reference.table, tuple(map(Key, reference.columns)))
            yield Finding(
                Kind.FOREIGN_KEY, inventory.alias, reference.table, spec, reason, Confidence.CATALOGUE
            )


class _Measure:
    """Measures the pages of some indexes."""

    def __init__(self, density: Callable[[StandingIndex], float | None]) -> None:
        self._density = density
        self._left = MEASURED_INDEXES

    def wasted_part(self, index: StandingIndex) -> float | None:
        is_small = (index.size_bytes or 0) <= LARGEST_MEASURED_BYTES
        filled = self._density(index) if self._left and is_small else None
        if filled is None:
            return None
        self._left -= 1
        return max(0.0, 1 - filled / (index.fill_percent / 100))


def _bloated(index: StandingIndex, limits: Limits, measure: _Measure) -> str:
    part = wasted_part(index)
    if part is None or part < limits.bloat_part or (index.size_bytes or 0) < limits.bloat_bytes:
        return ""
    measured = measure.wasted_part(index)
    if measured is not None and measured < limits.bloat_part:
        return ""
    how = "By an estimate" if measured is None else "By the count of its pages"
    part = part if measured is None else measured
    return f"{how}, about {part:.0%} of its {_bytes(index)} are empty. REINDEX CONCURRENTLY builds it anew."


INVALID: Final = (
    "A build that did not finish has left it invalid: writes keep it up to date, and no query uses it. "
    "`manage.py perfkit_indexes repair` builds it anew or drops it."
)


def waiting(
    inventory: Inventory, *, limits: Limits, seen: Mapping[str, Sighting], left_alone: Collection[str] = ()
) -> list[str]:
    """Return the names of indexes that are not read and not known for long enough to be called unused. Pure.

    None are told where the statistics are too young themselves.
    """
    if inventory.age is None or inventory.age < dt.timedelta(days=limits.unused_days):
        return []
    return [
        index.name
        for index in inventory.indexes
        if index.is_valid
        and index.table not in left_alone
        and _may_be_unused(inventory, index, limits)
        and not _is_old_enough(_known_for(inventory, index, seen.get(index.name)), limits)
    ]


def _may_be_unused(inventory: Inventory, index: StandingIndex, limits: Limits) -> bool:
    return _may_go(inventory, index) and index.scans == 0 and (index.size_bytes or 0) >= limits.unused_bytes


def _known_for(inventory: Inventory, index: StandingIndex, sighting: Sighting | None) -> dt.timedelta | None:
    """Return for how long an index is known to be there, None where it was not seen before."""
    if sighting is None or sighting.oid != index.oid or inventory.now is None:
        return None
    return inventory.now - sighting.at


def _is_old_enough(age: dt.timedelta | None, limits: Limits) -> bool:
    if not limits.unused_days:
        return True
    return age is not None and age >= dt.timedelta(days=limits.unused_days)


def _unused(
    inventory: Inventory,
    index: StandingIndex,
    limits: Limits,
    replicas: Replicas,
    sighting: Sighting | None,
) -> str:
    if not _may_be_unused(inventory, index, limits) or inventory.age is None:
        return ""
    age = min(inventory.age, replicas.age) if replicas.age is not None else inventory.age
    known_for = _known_for(inventory, index, sighting)
    if not _is_old_enough(age, limits) or not _is_old_enough(known_for, limits):
        return ""
    if known_for is None:
        since = (
            f"It was not read once in the {_days(age)} of the statistics; since when it is there is not known"
        )
    elif known_for < age:
        since = f"It was not read once in {_days(known_for)}, for which it is known to be there, at least"
    else:
        since = f"It was not read once in {_days(age)}"
    if replicas.aliases:
        if replicas.scans is None or replicas.scans.get(index.name, 1):
            return ""
        where = f"neither here nor on the replicas {', '.join(replicas.aliases)}"
    else:
        where = (
            "here; if queries go to replicas too, name them in INDEX_REPLICAS, for they count by themselves"
        )
    return f"{since}, {where}. Writes pay for it, and it takes {_bytes(index)}."


def _window(
    inventory: Inventory, index: StandingIndex, sighting: Sighting | None
) -> tuple[dt.timedelta, int, int] | None:
    """Return for how long an index and its table were watched, and how often each was read; None for never.

    Of what was read before the index was seen first it may have served nothing, for it was not there.
    """
    table, age, known_for = (
        inventory.tables.get(index.table),
        inventory.age,
        _known_for(inventory, index, sighting),
    )
    if table is None or not table.reads or index.scans is None or age is None:
        return None
    if sighting is None or known_for is None or known_for >= age:
        return age, index.scans, table.reads
    reads = table.reads - (sighting.table_reads or 0)
    return (known_for, max(0, index.scans - sighting.scans), reads) if reads > 0 else None


def _unselective(
    inventory: Inventory,
    index: StandingIndex,
    limits: Limits,
    replicas: Replicas,
    sighting: Sighting | None,
) -> str:
    table, figures, spec = inventory.tables.get(index.table), index.leading, index.spec
    if not _may_go(inventory, index) or spec.condition or len(spec.keys) != 1 or spec.method != "btree":
        return ""
    window = _window(inventory, index, sighting)
    if figures is None or table is None or window is None:
        return ""
    age, scans, reads = window
    known_for = _known_for(inventory, index, sighting)
    if not (_is_old_enough(age, limits) and _is_old_enough(known_for, limits)) or (
        scans > limits.hardly_used * reads
    ):
        return ""
    if (replicas.scans or {}).get(index.name) or (index.size_bytes or 0) < limits.unused_bytes:
        return ""
    if max(figures.most_common, figures.null_part) >= limits.dominant:
        most = max(figures.most_common, figures.null_part)
        what = f"{most:.0%} of the rows have the same value" if most < 1 else "All rows have the same value"
    elif 0 < figures.distinct <= limits.few_values:
        what = f"Its key has only {figures.distinct:.0f} values"
    else:
        return ""
    return (
        f"{what}, and {scans:,} of {reads:,} reads of the table in {_days(age)} used it. "
        "A partial index of the rare values, or none, costs writes less."
    )


def _may_go(inventory: Inventory, index: StandingIndex) -> bool:
    """Tell whether nothing stands on an index, and no foreign key would be without one."""
    if index.held_by or index.spec.is_unique:
        return False
    return all(
        any(each.name != index.name for each in inventory.serving(reference))
        for reference in inventory.references
        if reference.table == index.table and index in inventory.serving(reference)
    )


def _unserved(inventory: Inventory, reference: Reference, limits: Limits, *, is_joined: bool) -> str:
    table, target = inventory.tables.get(reference.table), inventory.tables.get(reference.target)
    if table is None or any(True for _ in inventory.serving(reference)):
        return ""
    if table.rows is not None and table.rows < limits.reference_rows:
        return ""
    rows = "all rows" if table.rows is None else f"all {table.rows:,} rows"
    deletes = target.deletes if target else None
    reasons = []
    if deletes:
        reasons.append(
            f"each DELETE in {reference.target} reads {rows} of {reference.table}, "
            f"and {deletes:,} rows were deleted"
        )
    elif deletes is None or inventory.age is None or inventory.age < dt.timedelta(days=limits.unused_days):
        reasons.append(f"a DELETE in {reference.target} would read {rows} of {reference.table}")
    if is_joined:
        reasons.append(f"statements look for rows of {reference.table} by it")
    if not reasons:
        return ""
    columns = ", ".join(reference.columns)
    return f"The foreign key {columns} to {reference.target} has no index: {', and '.join(reasons)}."


def _finding(inventory: Inventory, index: StandingIndex, kind: Kind, reason: str) -> Finding:
    return Finding(
        kind,
        inventory.alias,
        index.table,
        index.spec,
        reason,
        Confidence.CATALOGUE,
        name=index.name,
        size_bytes=index.size_bytes,
        definition=index.definition,
        is_partitioned=index.is_partitioned,
        is_held=bool(index.held_by),
    )


def _bytes(index: StandingIndex) -> str:
    return filesizeformat(index.size_bytes or 0).replace("\xa0", " ")


def _days(age: dt.timedelta) -> str:
    days = age / dt.timedelta(days=1)
    return f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} hours"  # noqa: PLR2004  # one day is 24 hours
