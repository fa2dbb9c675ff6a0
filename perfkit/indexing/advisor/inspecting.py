"""Finds what a database could do without, should build anew, or lacks behind a foreign key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import Final

from django.db import DatabaseError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.conf import options
from perfkit.errors import NoIndexAdviceError
from perfkit.indexing.advisor.bounds import bounded, has_given_up, without_end
from perfkit.indexing.advisor.catalogue import (
    index_scans,
    leaf_density,
    postgres_inventory,
    statistics_began,
)
from perfkit.indexing.advisor.findings import Finding, Kind
from perfkit.indexing.advisor.judging import Limits, Replicas, inspected, waiting
from perfkit.indexing.advisor.owners import owners_of, references_of
from perfkit.indexing.advisor.pragmas import sqlite_inventory
from perfkit.indexing.advisor.sessions import OutOfTimeError
from perfkit.indexing.advisor.sightings import sightings
from perfkit.indexing.advisor.standing import Reference, StandingIndex, StandingTable
from perfkit.indexing.offers import relied_on
from perfkit.postgres.session import sqlstate
from perfkit.workload import Workload

STANDING: Final = frozenset(Kind) - {Kind.MISSING}
"""What needs no workload."""

SHOWN_WAITING: Final = 5

BY_READS: Final = frozenset({Kind.UNUSED, Kind.UNSELECTIVE})
"""Of which nothing is known where a replica does not say what it reads."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found, and what could not be looked at.

    Attributes:
        indexes: All that are there, but for those of unread tables.
        kinds: What could be looked for.
        unread: Tables whose indexes were not looked at, for others have locked them.
        tables: All that are there.
    """

    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    indexes: tuple[StandingIndex, ...] = ()
    kinds: frozenset[Kind] = STANDING
    unread: frozenset[str] = frozenset()
    tables: Mapping[str, StandingTable] = field(default_factory=dict)


def inspect(
    using: str = "default",
    *,
    workload: Workload | None = None,
    replicas: Sequence[str] | None = None,
    limits: Limits | None = None,
    left_seconds: Callable[[], float] = without_end,
) -> Inspection:
    """Look through the indexes of a PostgreSQL or SQLite database.

    Indexes of packages' tables are not called superfluous, for nobody would drop them,
    nor is one called unused that a list of the project relies on.
    No lock is waited for long: what was not looked at, for that or for want of time, is said.

    Args:
        workload: Tells by which foreign keys tables are joined.
        replicas: Aliases of replicas that queries are sent to; those of `PERFKIT["INDEX_REPLICAS"]` if left out.
        left_seconds: Returns how long it is until the deadline.

    Raises:
        NoIndexAdviceError: It is neither of the two.

    Queries: 6 and some about collations, 2 for each replica, and 3 where there is a workload, in transactions;
        2 for what was seen before.
    """
    try:
        return _inspection(using, workload, replicas, limits, left_seconds)
    except OutOfTimeError:
        why = "there was no time left for it"
    except OperationalError as error:
        if not has_given_up(error):
            raise
        why = f"the database has ended it (SQLSTATE {sqlstate(error)})"
    return Inspection((), (f"The indexes that are there were not looked at: {why}.",), kinds=frozenset())


def _inspection(
    using: str,
    workload: Workload | None,
    replicas: Sequence[str] | None,
    limits: Limits | None,
    left_seconds: Callable[[], float],
) -> Inspection:
    connection = connections[using]
    limits = limits or Limits(unused_days=options.INDEX_UNUSED_DAYS)
    owners = owners_of(using)
    if connection.vendor == "postgresql":
        inventory = postgres_inventory(connection, left_seconds=left_seconds)
    elif connection.vendor == "sqlite":
        inventory = sqlite_inventory(connection)
    else:
        raise NoIndexAdviceError(using, connection.vendor)
    looked_at = inventory.tables.keys() - inventory.unread
    known = dict.fromkeys(inventory.references)
    known |= dict.fromkeys(each for each in references_of(owners) if each.table in looked_at)
    inventory = replace(inventory, references=tuple(known))
    asked, notes = (
        _replicas(options.INDEX_REPLICAS if replicas is None else replicas, left_seconds)
        if connection.vendor == "postgresql"
        else (Replicas(), [])
    )
    packaged = {table for table, owner in owners.items() if not owner.is_own}
    seen = sightings(using) if connection.vendor == "postgresql" else {}
    findings = inspected(
        inventory,
        limits=limits,
        replicas=asked,
        seen=seen,
        left_alone=packaged,
        joining={table for table, owner in owners.items() if owner.model._meta.auto_created},
        declared={name for owner in owners.values() for name in owner.names},
        relied_on={index.name: where for where, index in relied_on()},
        joined=_joining(workload, connection, inventory.references, left_seconds),
        density=partial(leaf_density, connection, left_seconds=left_seconds),
    )
    if inventory.unread:
        names = ", ".join(sorted(inventory.unread))
        notes = [*notes, f"Not looked at, for others have locked them: {names}. Run it again."]
    if names_left := waiting(inventory, limits=limits, seen=seen, left_alone=packaged):
        notes = [*notes, _told_waiting(names_left)]
    kinds = STANDING if asked.scans is not None or not asked.aliases else STANDING - BY_READS
    return Inspection(
        tuple(findings), tuple(notes), inventory.indexes, kinds, inventory.unread, inventory.tables
    )


def _told_waiting(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_WAITING:,} more" if len(names) > SHOWN_WAITING else ""
    return (
        "Not read, and not known for long enough to be called unused: "
        f"{', '.join(names[:SHOWN_WAITING])}{more}. Runs with --save remember since when an index is there."
    )


def _replicas(aliases: Sequence[str], left_seconds: Callable[[], float]) -> tuple[Replicas, list[str]]:
    """Ask the replicas; where one does not answer, nothing may be called unused."""
    sums: dict[str, int] = {}
    ages, notes = [], []
    for alias in aliases:
        try:
            began_at, now = statistics_began(connections[alias], left_seconds=left_seconds)
            for name, scans in index_scans(connections[alias], left_seconds=left_seconds).items():
                sums[name] = sums.get(name, 0) + scans
        except DatabaseError as error:
            first = str(error).strip().partition("\n")[0]
            notes.append(f"The replica {alias!r} does not answer, so no index is called unused: {first}")
            continue
        ages.append(now - began_at)
    scans_known = None if notes else sums
    return Replicas(tuple(aliases), scans_known, min(ages) if ages else None), notes


def _joining(
    workload: Workload | None,
    connection: BaseDatabaseWrapper,
    references: Collection[Reference],
    left_seconds: Callable[[], float],
) -> Callable[[Reference], bool]:
    """Return what tells whether statements find rows by a foreign key."""
    if workload is None or not workload.shapes:
        return lambda _: False
    if find_spec("pglast") is None:
        return partial(_is_named, workload)
    from perfkit.indexing.advisor.lookups import looked_up  # which needs pglast

    with bounded(connection, left_seconds):
        found = looked_up(workload, connection, {each.table for each in references})
    return lambda reference: any(
        columns.issuperset(reference.columns) for columns in found.get(reference.table, ())
    )


def _is_named(workload: Workload, reference: Reference) -> bool:
    """Tell the same by the texts alone, which misses tables under other names."""
    names = [f'"{reference.table}"."{column}"' for column in reference.columns]
    return any(all(name in _conditions(shape.fingerprint) for name in names) for shape in workload.shapes)


def _conditions(sql: str) -> str:
    """Return a statement from its first FROM on, where what is merely read does not stand."""
    return sql.partition(" FROM ")[2]
