"""What the advisor says: indexes to add, to drop and to build anew, each with what speaks for it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from perfkit.indexing.advisor.specs import IndexSpec


class Kind(StrEnum):
    """Why something should be done."""

    MISSING = "missing"
    FOREIGN_KEY = "foreign key"
    UNUSED = "unused"
    DUPLICATE = "duplicate"
    REDUNDANT = "redundant"
    UNSELECTIVE = "unselective"
    INVALID = "invalid"
    BLOATED = "bloated"


class Confidence(StrEnum):
    """How a gain is known, the surest first."""

    BUILT = "built"
    """On a copy with all rows of the table."""
    SAMPLED = "sampled"
    """On a copy with a part of the rows."""
    HYPOTHETICAL = "hypothetical"
    """By hypopg, on the live table's statistics."""
    CATALOGUE = "catalogue"
    """By what the catalogue and the statistics say."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What an index does for one shape of the workload.

    Attributes:
        fingerprint: Of the shape.
        calls: Of the shape, as in the workload.
        cost_before: The planner's, on average over the samples; so is `cost_after`.
        plan_before: As text, without values; so is `plan_after`.
    """

    fingerprint: str
    calls: int
    cost_before: float
    cost_after: float
    plan_before: str = field(default="", repr=False)
    plan_after: str = field(default="", repr=False)

    @property
    def ratio(self) -> float:
        """How many times cheaper it becomes."""
        return self.cost_before / self.cost_after if self.cost_after else float("inf")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to do.

    Attributes:
        alias: Of the database.
        table: The `db_table`.
        spec: The index to add, or the one that is there; None where it cannot be told as one.
        name: Of the index that is there; empty for one to add.
        reason: A sentence for people, without values.
        gain: The part of the whole workload's cost that it saves, 0.0 to 1.0; 0.0 where there is none to tell.
        size_bytes: Of the index, as it is or would be.
        write_cost: How much longer one written row takes, as a part of what it takes now; None where not told.
        kept_by: Of a duplicate or redundant one, the index that serves instead.
        replaces: Names of those that are there and that one to add makes superfluous.
        definition: Of one that is there, the statement that would make it, as the database tells it.
        is_partitioned: Of one that is there, whether it is of a partitioned table.
        is_held: Of one that is there, whether a constraint or the like stands on it.
    """

    kind: Kind
    alias: str
    table: str
    spec: IndexSpec | None
    reason: str
    confidence: Confidence
    name: str = ""
    gain: float = 0.0
    size_bytes: int | None = None
    write_cost: float | None = None
    kept_by: str = ""
    effects: tuple[Effect, ...] = ()
    replaces: tuple[str, ...] = ()
    definition: str = field(default="", repr=False)
    is_partitioned: bool = False
    is_held: bool = False

    @property
    def is_addition(self) -> bool:
        """Whether an index is to be made, rather than dropped or built anew."""
        return not self.name
