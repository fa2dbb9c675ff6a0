"""Remembers since when indexes are known to be there.

# Note [The age of an index]
PostgreSQL keeps no time of an index's creation, and what it counts of one that is a second old is what it counts
of one that is a year old and was never read. So each run that keeps what it finds remembers the indexes that it
sees, by their names and numbers. One that was made anew has another number, and is as young as that.
For how long an index was not read is known from the first such run on, or since the statistics began, whichever is
later.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from django.db import ProgrammingError, connections, router, transaction

from perfkit.indexing.advisor.standing import Sighting, StandingIndex, StandingTable
from perfkit.models import SeenIndex
from perfkit.postgres.session import sqlstate

MAY_NOT: Final = "42501"


def sightings(alias: str) -> dict[str, Sighting]:
    """Return, by name, the indexes of a database that were seen before.

    There are none where perfkit's table is not there, or this role may not read it.

    Queries: 2, one in a transaction.
    """
    using = router.db_for_read(SeenIndex)
    if SeenIndex._meta.db_table not in connections[using].introspection.table_names():
        return {}
    try:
        with transaction.atomic(using=using):
            rows = list(SeenIndex.objects.using(using).filter(alias=alias))
    except ProgrammingError as error:
        if sqlstate(error) != MAY_NOT:
            raise
        return {}
    return {row.index_name: Sighting(row.oid, row.first_seen_at, row.scans, row.table_reads) for row in rows}


def remember(
    alias: str,
    indexes: Iterable[StandingIndex],
    tables: Mapping[str, StandingTable],
    *,
    there: Collection[str],
    now: dt.datetime,
) -> None:
    """Remember the indexes that were not seen before, and forget those that are not there any more.

    Args:
        indexes: That a run has looked at.
        there: Names of all that are there.

    Queries: 1, 1 where there are new ones, 1 where some have gone.
    """
    using = router.db_for_write(SeenIndex)
    rows = SeenIndex.objects.using(using)
    known = {row.index_name: row for row in rows.filter(alias=alias)}
    gone = [row.pk for name, row in known.items() if name not in there]
    if gone:
        rows.filter(pk__in=gone).delete()
    new = [
        SeenIndex(
            alias=alias,
            index_name=each.name,
            oid=each.oid,
            scans=each.scans,
            table_reads=tables[each.table].reads if each.table in tables else None,
            first_seen_at=now,
        )
        for each in indexes
        if each.oid is not None
        and each.scans is not None
        and (each.name not in known or known[each.name].oid != each.oid)
    ]
    if new:
        rows.bulk_create(
            new,
            update_conflicts=True,
            unique_fields=["alias", "index_name"],
            update_fields=["oid", "scans", "table_reads", "first_seen_at"],
        )
