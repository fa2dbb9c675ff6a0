"""Says which indexes a workload lacks, and proves it: on scratch copies, by hypopg, or by the catalogue alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.errors import AdvisorError
from perfkit.indexing.advisor.candidates import candidates_for
from perfkit.indexing.advisor.cases import Advice
from perfkit.indexing.advisor.columns import table_facts
from perfkit.indexing.advisor.drawing import tables_in
from perfkit.indexing.advisor.postgres_advising import Candidates, PostgresAdvising
from perfkit.indexing.advisor.selection import Budget
from perfkit.indexing.advisor.specs import IndexSpec
from perfkit.indexing.advisor.sqlite_advising import SqliteAdvising
from perfkit.workload.shapes import QueryShape, Workload

DEADLINE_SECONDS: Final = 300.0


def advise(
    workload: Workload,
    *,
    using: str | None = None,
    budget: Budget | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
    has_scratch: bool = True,
    candidates: Candidates | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Advice:
    """Return the indexes that a workload lacks, each with what it does for which statement.

    On PostgreSQL the tables of the workload are copied, in part where they are large, into a schema of its own,
    and candidates are built there: of live tables only ACCESS SHARE locks are taken, while they are copied.
    The schema is gone at the end; where the process is killed, the next run drops it.
    Where the role may make no schema, hypopg is asked, and without it the catalogue.
    No captured statement is run on live tables, and what may write is run nowhere.

    Args:
        using: The database, if it is not the workload's own.
        deadline_seconds: After it what was not looked at is told as skipped; the reason of a finding says where
            there was no time left to run its statements on the copies.
        has_scratch: Whether tables may be copied.
        candidates: Thinks of indexes for shapes, in the place of `thought_of`.

    Raises:
        AdvisorError: The database is neither PostgreSQL nor SQLite.
        Error: Django's: the database is not to be reached, or went away.

    Queries:
        Many, on a connection of its own.
    """
    alias = using or workload.alias
    connection = connections[alias]
    ends = clock() + deadline_seconds

    def left_seconds() -> float:
        return ends - clock()

    thinking = candidates or thought_of
    limits = budget or Budget()
    if connection.vendor == "postgresql":
        return PostgresAdvising(workload, alias, limits, thinking, has_scratch, left_seconds).advice()
    if connection.vendor == "sqlite":
        return SqliteAdvising(workload, alias, limits, thinking, left_seconds).advice()
    raise AdvisorError(f"it knows PostgreSQL and SQLite, not {connection.vendor}.")


def thought_of(
    shapes: Sequence[QueryShape], connection: BaseDatabaseWrapper
) -> Mapping[str, tuple[IndexSpec, ...]]:
    """Return candidates for shapes, by what the connection says of their tables."""
    tables = {table for shape in shapes for text in shape.samples for table in tables_in(text)}
    return candidates_for(shapes, table_facts(connection, tables))
