"""Finds what a database could do without, should build anew, or lacks behind a foreign key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.conf import options
from perfkit.errors import NoIndexAdviceError
from perfkit.indexing.advisor.catalogue import (
    index_scans,
    leaf_density,
    postgres_inventory,
    statistics_began,
)
from perfkit.indexing.advisor.findings import Finding
from perfkit.indexing.advisor.judging import Limits, Replicas, inspected
from perfkit.indexing.advisor.owners import owners_of, references_of
from perfkit.indexing.advisor.pragmas import sqlite_inventory
from perfkit.indexing.advisor.standing import Reference, StandingIndex
from perfkit.indexing.offers import relied_on
from perfkit.workload import Workload


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found, and what could not be looked at.

    Attributes:
        indexes: All that are there.
    """

    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    indexes: tuple[StandingIndex, ...] = ()


def inspect(
    using: str = "default",
    *,
    workload: Workload | None = None,
    replicas: Sequence[str] | None = None,
    limits: Limits | None = None,
) -> Inspection:
    """Look through the indexes of a PostgreSQL or SQLite database.

    Indexes of packages' tables are not called superfluous, for nobody would drop them,
    nor is one called unused that a list of the project relies on.

    Args:
        workload: Tells by which foreign keys tables are joined.
        replicas: Aliases of replicas that queries are sent to; those of `PERFKIT["INDEX_REPLICAS"]` if left out.

    Raises:
        NoIndexAdviceError: It is neither of the two.

    Queries: 6 and some about collations, 2 for each replica, and 3 where there is a workload.
    """
    connection = connections[using]
    limits = limits or Limits(unused_days=options.INDEX_UNUSED_DAYS)
    owners = owners_of(using)
    if connection.vendor == "postgresql":
        inventory = postgres_inventory(connection)
    elif connection.vendor == "sqlite":
        inventory = sqlite_inventory(connection)
    else:
        raise NoIndexAdviceError(using, connection.vendor)
    known = dict.fromkeys(inventory.references)
    known |= dict.fromkeys(each for each in references_of(owners) if each.table in inventory.tables)
    inventory = replace(inventory, references=tuple(known))
    asked, notes = (
        _replicas(options.INDEX_REPLICAS if replicas is None else replicas)
        if connection.vendor == "postgresql"
        else (Replicas(), [])
    )
    packaged = {table for table, owner in owners.items() if not owner.is_own}
    findings = inspected(
        inventory,
        limits=limits,
        replicas=asked,
        left_alone=packaged,
        joining={table for table, owner in owners.items() if owner.model._meta.auto_created},
        declared={name for owner in owners.values() for name in owner.names},
        relied_on={index.name: where for where, index in relied_on()},
        joined=_joining(workload, connection, inventory.references),
        density=partial(leaf_density, connection),
    )
    return Inspection(tuple(findings), tuple(notes), inventory.indexes)


def _replicas(aliases: Sequence[str]) -> tuple[Replicas, list[str]]:
    """Ask the replicas; where one does not answer, nothing may be called unused."""
    sums: dict[str, int] = {}
    ages, notes = [], []
    for alias in aliases:
        try:
            began_at, now = statistics_began(connections[alias])
            for name, scans in index_scans(connections[alias]).items():
                sums[name] = sums.get(name, 0) + scans
        except DatabaseError as error:
            first = str(error).strip().partition("\n")[0]
            notes.append(f"The replica {alias!r} does not answer, so no index is called unused: {first}")
            continue
        ages.append(now - began_at)
    scans_known = None if notes else sums
    return Replicas(tuple(aliases), scans_known, min(ages) if ages else None), notes


def _joining(
    workload: Workload | None, connection: BaseDatabaseWrapper, references: Collection[Reference]
) -> Callable[[Reference], bool]:
    """Return what tells whether statements find rows by a foreign key."""
    if workload is None or not workload.shapes:
        return lambda _: False
    if find_spec("pglast") is None:
        return partial(_is_named, workload)
    from perfkit.indexing.advisor.lookups import looked_up  # which needs pglast

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
