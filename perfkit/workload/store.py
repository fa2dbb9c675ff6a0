"""Where the workload is kept: perfkit's own tables, in the database that it is the workload of.

# Note [Counted at most once]
A process adds what it has counted in one transaction. Where that fails before COMMIT was sent, the counts are put
back and added the next time. Where COMMIT has been sent and nothing was heard of it, nobody knows whether they are
in the table: they are not added again. So a process that is killed, or whose connection breaks at that moment,
loses the counts of one interval, and nothing is ever counted twice.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from django.db import DatabaseError, connections, transaction
from django.utils import timezone

from perfkit.models import WorkloadCount, WorkloadSample, WorkloadShape
from perfkit.workload import statements
from perfkit.workload.connecting import own_connection, roll_back
from perfkit.workload.counters import Addition

logger: Final = logging.getLogger("perfkit.workload")

KEPT_HOURS: Final = 7 * 24
COUNTS_PER_SHAPE: Final = 50
"""Rows of counts that are kept for each shape on average; the oldest hours make room."""

MOST_SAMPLE_CHARACTERS: Final = 32 * 1024 * 1024
ROWS_AT_ONCE: Final = 100
TIMEOUT_MS: Final = 5_000
LOCK: Final = 7_305_812_960_121
"""Of PostgreSQL's advisory locks: whoever has it removes what is too much."""

LONGEST_CALLER: Final = 255


class Bounds(NamedTuple):
    """How much is kept.

    Args:
        shapes: Most shapes.
        samples: Most samples of each.
        has_values: Whether samples are kept with their values.
    """

    shapes: int
    samples: int
    has_values: bool


class NowhereError(Exception):
    """The database keeps no workload: no tables, or nothing may be written. Never leaves the room."""


def write(alias: str, additions: Sequence[Addition], bounds: Bounds, *, prunes: bool) -> None:
    """Add what was counted, and remove what is too much.

    Args:
        additions: In the order of their digests, which is that in which rows are locked.
        prunes: Whether what is too much is looked for.

    Raises:
        NowhereError: Nothing is ever kept there.
        DatabaseError: Nothing was added.
    """
    with own_connection(alias) as own:
        _require_tables(own)
        with own.cursor() as cursor:
            _begin(own, cursor)
            try:
                _add(own, cursor, additions)
            except BaseException:
                roll_back(own, cursor)
                raise
            try:
                cursor.execute("COMMIT")
            except DatabaseError as error:  # see Note [Counted at most once]
                logger.warning(
                    "Whether an interval of the workload was kept is not known: %s", type(error).__name__
                )
                return
            if prunes:
                _prune(own, cursor, bounds)


def clear_workload(using: str = "default") -> int:
    """Remove all that was captured of a database, and return how many shapes that were.

    What processes have counted and not yet written down comes after.

    Queries:
        Three deletes, in a transaction.
    """
    with transaction.atomic(using=using):
        WorkloadSample.objects.using(using).all().delete()
        WorkloadCount.objects.using(using).all().delete()
        removed, _ = WorkloadShape.objects.using(using).all().delete()
    return removed


def has_tables(alias: str) -> bool:
    """Say whether perfkit's tables are in a database.

    Queries: one.
    """
    return statements.SHAPES in connections[alias].introspection.table_names()


def _require_tables(own: Any) -> None:
    with own.cursor() as cursor:
        if own.vendor == "postgresql":
            cursor.execute(
                "SELECT current_setting('transaction_read_only') = 'off' AND NOT pg_is_in_recovery() "
                "AND to_regclass(%s) IS NOT NULL",
                [statements.SAMPLES],
            )
            if not cursor.fetchone()[0]:
                raise NowhereError(own.alias)
        elif own.vendor == "sqlite":
            cursor.execute("SELECT 1 FROM sqlite_master WHERE name = %s", [statements.SAMPLES])
            if cursor.fetchone() is None:
                raise NowhereError(own.alias)
        else:
            raise NowhereError(own.alias)


def _begin(own: Any, cursor: Any) -> None:
    if own.vendor == "postgresql":
        cursor.execute("BEGIN")
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)",
            [str(TIMEOUT_MS), str(TIMEOUT_MS)],
        )
    else:
        cursor.execute("BEGIN IMMEDIATE")


def _add(own: Any, cursor: Any, additions: Sequence[Addition]) -> None:
    hour = int(time.time() // 3600)
    now = own.ops.adapt_datetimefield_value(timezone.now())
    _upsert(cursor, statements.ADD_SHAPES, [(each.digest, each.fingerprint, now, now) for each in additions])
    _upsert(
        cursor,
        statements.ADD_COUNTS,
        [(each.digest, hour, each.calls, round(each.seconds * 1_000_000)) for each in additions],
    )
    _upsert(
        cursor,
        statements.ADD_SAMPLES,
        [
            (
                each.digest,
                slot,
                seen.statement,
                seen.caller[-LONGEST_CALLER:],
                own.ops.adapt_datetimefield_value(_moment(seen.at)),
                seen.takings,
            )
            for each in additions
            for slot, seen in sorted(each.sightings.items())
        ],
    )


def _moment(seconds: float) -> dt.datetime:
    moment = dt.datetime.fromtimestamp(seconds, tz=dt.UTC)
    return moment if timezone.is_aware(timezone.now()) else timezone.make_naive(moment)


def _upsert(cursor: Any, halves: tuple[str, str], rows: Sequence[tuple[Any, ...]]) -> None:
    before, after = halves
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[begin : begin + ROWS_AT_ONCE]
        places = f"({', '.join(['%s'] * len(some[0]))})"
        values = [value for row in some for value in row]
        cursor.execute(f"{before}{', '.join([places] * len(some))}{after}", values)


def _prune(own: Any, cursor: Any, bounds: Bounds) -> None:
    """Remove what is too much, in a transaction of its own, unless another process is doing so."""
    _begin(own, cursor)
    try:
        if own.vendor == "postgresql":
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
            if not cursor.fetchone()[0]:
                roll_back(own, cursor)
                return
        for sql, values in _removals(cursor, bounds):
            cursor.execute(sql, values)
        cursor.execute("COMMIT")
    except DatabaseError as error:  # the next one tries it again
        roll_back(own, cursor)
        logger.info("What is too much of the workload stays for now: %s", type(error).__name__)


def _removals(cursor: Any, bounds: Bounds) -> Iterator[tuple[str, list[Any]]]:
    """Yield what is run in turn; what comes later finds what came before."""
    hour = int(time.time() // 3600)
    yield statements.DROP_OLD_COUNTS, [hour - KEPT_HOURS]
    yield statements.DROP_SHAPES_WITHOUT_COUNTS, []
    cursor.execute(statements.COUNT_SHAPES)
    too_many = cursor.fetchone()[0] - bounds.shapes
    if too_many > 0:
        yield statements.DROP_CHEAPEST_SHAPES, [too_many]
    yield statements.DROP_COUNTS_WITHOUT_SHAPE, []
    yield statements.DROP_OLDEST_HOURS, [bounds.shapes * COUNTS_PER_SHAPE, hour]
    yield statements.DROP_SAMPLES_WITHOUT_SHAPE, []
    yield statements.DROP_HIGH_SLOTS, [bounds.samples]
    if not bounds.has_values:
        yield statements.DROP_VALUES, []
    yield statements.DROP_OLDEST_SAMPLES, [MOST_SAMPLE_CHARACTERS]
