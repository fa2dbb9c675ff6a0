"""The indexes that a database has, its tables and its foreign keys, as the advisor looks at them. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from perfkit.indexing.advisor.specs import IndexSpec


@dataclass(frozen=True, slots=True)
class ColumnFigures:
    """What the statistics say of a column, or of an expression of an index.

    Attributes:
        distinct: How many values it has, of all rows where negative: -1.0 for as many as there are rows.
        most_common: The part of the rows that have its most common value, 0.0 where there is none to tell.
        width_bytes: Of a value, on average.
    """

    distinct: float
    null_part: float
    most_common: float
    width_bytes: int


@dataclass(frozen=True, slots=True)
class StandingIndex:
    """One index that is there; one of a partitioned table stands for those of its partitions.

    Attributes:
        definition: The statement that would make it.
        collations: Of the keys, and whatever else makes two indexes differ that a spec does not tell.
        held_by: What it cannot be dropped for, such as a constraint; empty where nothing holds it.
        scans: How often it was read since the statistics began, None where nobody counts that.
        rows: That it holds, by the last ANALYZE; None where it does not say.
        leading: The figures of its first key.
        figures: Of all that it stores, None where some are not known.
        oid: Its number, None where it has none.
    """

    name: str
    spec: IndexSpec
    definition: str
    schema: str = ""
    collations: str = ""
    held_by: str = ""
    is_valid: bool = True
    is_partitioned: bool = False
    scans: int | None = None
    size_bytes: int | None = None
    rows: int | None = None
    fill_percent: int = 90
    leading: ColumnFigures | None = None
    figures: tuple[ColumnFigures, ...] | None = None
    oid: int | None = None

    @property
    def table(self) -> str:
        """The `db_table`."""
        return self.spec.table


@dataclass(frozen=True, slots=True)
class StandingTable:
    """One table; one that is partitioned stands for its partitions.

    Attributes:
        rows: By the last ANALYZE, None before it.
        reads: How often it was read since the statistics began, by an index or not; None where nobody counts.
        deletes: How many rows were deleted since then, likewise.
    """

    name: str
    rows: int | None = None
    reads: int | None = None
    deletes: int | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was known of an index when a run has seen it for the first time.

    Attributes:
        at: When that was; the index may have been there for longer.
        scans: How often it had been read until then.
        table_reads: How often its table had been; None where nobody counts.
    """

    oid: int
    at: dt.datetime
    scans: int
    table_reads: int | None


@dataclass(frozen=True, slots=True)
class Reference:
    """Columns of a table that refer to rows of another one, by a constraint or only by a model."""

    table: str
    columns: tuple[str, ...]
    target: str


@dataclass(frozen=True)
class Inventory:
    """All of a database that the advisor looks at.

    Attributes:
        began_at: When the statistics began, None where they tell nothing.
        now: Of the database.
        unread: Names of tables that were locked, so that their indexes were not looked at.
    """

    alias: str
    indexes: tuple[StandingIndex, ...]
    tables: dict[str, StandingTable]
    references: tuple[Reference, ...] = ()
    began_at: dt.datetime | None = None
    now: dt.datetime | None = None
    invalid: frozenset[str] = field(default=frozenset())
    unread: frozenset[str] = field(default=frozenset())

    @property
    def age(self) -> dt.timedelta | None:
        """How long the statistics have been kept."""
        return self.now - self.began_at if self.now and self.began_at else None

    @cached_property
    def by_table(self) -> dict[str, list[StandingIndex]]:
        """The indexes of each table that can be used."""
        found: dict[str, list[StandingIndex]] = {}
        for index in self.indexes:
            if index.is_valid:
                found.setdefault(index.table, []).append(index)
        return found

    def serving(self, reference: Reference) -> Iterator[StandingIndex]:
        """Yield the indexes by which the rows that refer to one row are found."""
        wanted = set(reference.columns)
        not_null = {f"{column} IS NOT NULL" for column in reference.columns}
        for index in self.by_table.get(reference.table, ()):
            spec = index.spec
            if spec.method not in {"btree", "hash"} or spec.condition.replace('"', "") not in {"", *not_null}:
                continue
            leading = {key.text for key in spec.keys[: len(wanted)] if not key.is_expression}
            if leading == wanted:
                yield index
