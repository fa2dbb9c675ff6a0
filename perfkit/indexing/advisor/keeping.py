"""Keeps what the advisor finds in perfkit's table, and follows what becomes of it.

# Note [One row for one advice]
The same advice is the same row, however often it is found: its key is made of what is to be done, not of a run.
What people have decided stays. What is no longer found is looked up in the database: an index to add that is
there, under whatever name, or one to drop that is not, means that it was applied; else there is no reason for it
any more. Of kinds that a run has not looked for, nothing is concluded.
That there is no reason any more is said only by a run that has looked at each statement that spoke for it, and
that was asked for all of the workload and for as many indexes as there are. Where it is found again, it is what
people had made of it: accepted, or written into a migration. What was applied and is found again is open as a new
one is, for what was decided of it has been done.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

from django.db import OperationalError, connections, router, transaction
from django.utils import timezone

from perfkit.errors import AdviceDecisionError
from perfkit.indexing.advisor.bounds import bounded, has_given_up, without_end
from perfkit.indexing.advisor.remedies import Remedy
from perfkit.indexing.advisor.reports import Report, effects_json
from perfkit.indexing.advisor.sightings import remember
from perfkit.indexing.advisor.writing import MigrationFile
from perfkit.models import AdviceState, IndexAdvice
from perfkit.workload import Workload, read_workload

FOLLOWED = (AdviceState.OPEN, AdviceState.ACCEPTED, AdviceState.WRITTEN)
"""States from which something may become applied, or gone."""

HOUR = dt.timedelta(hours=1)
Captured = Callable[[str, dt.datetime], Workload]


def captured_from(alias: str, begin: dt.datetime) -> Workload:
    """Return what was captured of a database from an hour on."""
    return read_workload(alias, since=timezone.now() - begin)


class Kept(NamedTuple):
    """How many are new, were found again, were applied since, and have no reason any more."""

    new: int
    again: int
    applied: int
    gone: int


def advice_key(remedy: Remedy) -> str:
    """Return what an advice is known by: the same for each run. Pure."""
    finding = remedy.finding
    what = finding.name or repr(finding.spec)
    told = "\x1f".join([finding.alias, finding.table, "add" if finding.is_addition else "drop", what])
    return hashlib.sha256(told.encode()).hexdigest()


def keep(report: Report, workload: Workload | None = None, *, captured: Captured = captured_from) -> Kept:
    """Write a report's findings into the table, see Note [One row for one advice].

    Args:
        workload: Of the same database, for how long shapes take before it is applied.
        captured: Returns what was captured from a moment on, for how long they take after it.

    Queries: 6, up to 3 for the indexes that the run has seen, 3 more where an index to add is not found any more,
        1 where what was applied is found again, 1 for each that stands under another name and for each advice
        whose outcome is known, and those of `captured` for each hour of such.
    """
    using = router.db_for_write(IndexAdvice)
    means = {shape.fingerprint: shape.mean_seconds for shape in workload.shapes} if workload else {}
    rows = [_row(each, report.made_at, means) for each in report.remedies]
    found = {row.key for row in rows}
    there = _index_names(report.alias)
    with transaction.atomic(using=using):
        everything = IndexAdvice.objects.using(using)
        known = {row.key: row for row in everything.select_for_update().filter(alias=report.alias)}
        _bring(using, rows, known)
        lost = [row for key, row in known.items() if key not in found and _is_told(row, report)]
        unknown = [row for row in lost if row.is_addition and row.index_name not in there]
        renamed = _other_names(report.alias, unknown)
        if renamed is None:
            renamed, lost = {}, [row for row in lost if row not in unknown]
        for key, name in renamed.items():
            everything.filter(pk=key).update(index_name=name)
        applied = [row for row in lost if row.key in renamed or (row.index_name in there) == row.is_addition]
        gone = [row for row in lost if row not in applied and _has_been_looked_at(row, report)]
        everything.filter(pk__in=[row.pk for row in applied]).update(
            state=AdviceState.APPLIED, applied_at=report.made_at
        )
        everything.filter(pk__in=[row.pk for row in gone]).update(state=AdviceState.GONE)
        _measure(using, known.values(), report, captured)
        if report.indexes:
            remember(report.alias, report.indexes, report.tables, there=there, now=report.made_at)
    new = len(found - known.keys())
    return Kept(new, len(found) - new, len(applied), len(gone))


def accept(pk: str, by: str) -> None:
    """Have an advice accepted.

    Raises:
        AdviceDecisionError: It is neither open nor dismissed.
    """
    _decide(pk, by, AdviceState.ACCEPTED, "", (AdviceState.OPEN, AdviceState.DISMISSED))


def dismiss(pk: str, by: str, reason: str) -> None:
    """Have an advice dismissed: it is not shown as open again, however often it is found.

    Raises:
        AdviceDecisionError: It is neither open, accepted nor written, or no reason is given.
    """
    if not reason.strip():
        raise AdviceDecisionError(pk, "a reason is needed to dismiss it")
    _decide(pk, by, AdviceState.DISMISSED, reason.strip(), FOLLOWED)


def remember_migrations(files: Iterable[MigrationFile]) -> int:
    """Note, of the advice that is kept, which migration does them; return of how many."""
    using = router.db_for_write(IndexAdvice)
    if IndexAdvice._meta.db_table not in connections[using].introspection.table_names():
        return 0
    number = 0
    for file in files:
        keys = [advice_key(each) for each in file.remedies]
        number += (
            IndexAdvice.objects.using(using)
            .filter(pk__in=keys, state__in=[AdviceState.OPEN, AdviceState.ACCEPTED])
            .update(state=AdviceState.WRITTEN, migration=file.label)
        )
    return number


def _decide(pk: str, by: str, state: AdviceState, note: str, may_be: Iterable[AdviceState]) -> None:
    using = router.db_for_write(IndexAdvice)
    number = (
        IndexAdvice.objects.using(using)
        .filter(pk=pk, state__in=list(may_be))
        .update(state=state, note=note, decided_by=by[:150], decided_at=timezone.now())
    )
    if not number:
        raise AdviceDecisionError(pk, "it is not there, or in a state that nothing is to be decided of")


def _bring(using: str, rows: list[IndexAdvice], known: Mapping[str, IndexAdvice]) -> None:
    undone = []
    for row in rows:
        there = known.get(row.key)
        if there is None:
            continue
        row.first_seen_at = there.first_seen_at
        row.before = {**there.before, **row.before}
        if there.state == AdviceState.APPLIED:
            undone.append(row.key)
        else:
            row.state = _decided(there) if there.state == AdviceState.GONE else there.state
    decided = {"key", "alias", "note", "decided_by", "decided_at", "migration"}
    names = [each.name for each in IndexAdvice._meta.concrete_fields if each.name not in decided]
    IndexAdvice.objects.using(using).bulk_create(
        rows, update_conflicts=True, unique_fields=["key"], update_fields=names
    )
    if undone:
        IndexAdvice.objects.using(using).filter(pk__in=undone).update(
            note="", decided_by="", decided_at=None, migration=""
        )


def _decided(row: IndexAdvice) -> AdviceState:
    """Return what people had made of an advice before it was gone."""
    if row.note:
        return AdviceState.DISMISSED
    if row.migration:
        return AdviceState.WRITTEN
    return AdviceState.ACCEPTED if row.decided_at else AdviceState.OPEN


def _row(remedy: Remedy, now: dt.datetime, means: Mapping[str, float]) -> IndexAdvice:
    finding = remedy.finding
    shapes = [each.fingerprint for each in finding.effects]
    return IndexAdvice(
        key=advice_key(remedy),
        alias=finding.alias,
        table=finding.table,
        model_label=remedy.model,
        kind=finding.kind.value,
        index_name=remedy.name,
        is_addition=finding.is_addition,
        reason=finding.reason,
        statement=remedy.sql,
        meta_line=remedy.meta_line,
        by_hand=remedy.by_hand,
        confidence=finding.confidence.value,
        gain=finding.gain,
        size_bytes=finding.size_bytes,
        write_cost=finding.write_cost,
        kept_by=finding.kept_by,
        evidence=list(effects_json(finding)),
        before={shape: means[shape] for shape in shapes if shape in means},
        first_seen_at=now,
        last_seen_at=now,
    )


def _is_told(row: IndexAdvice, report: Report) -> bool:
    kinds = {kind.value for kind in report.kinds}
    return row.state in FOLLOWED and row.kind in kinds and row.table not in report.unread


def _has_been_looked_at(row: IndexAdvice, report: Report) -> bool:
    """Tell whether a run that has not found an advice has looked at all that spoke for it."""
    if report.is_narrowed:
        return False
    return report.looked_at is None or report.looked_at.issuperset(
        each["fingerprint"] for each in row.evidence
    )


def _other_names(alias: str, rows: Iterable[IndexAdvice]) -> dict[str, str] | None:
    """Return, by the keys of advice, the names of those of its indexes that were made under another one.

    It is None where that is not known, for others have locked a table.
    """
    asked = list(rows)
    if not asked or find_spec("pglast") is None:
        return {}
    from perfkit.indexing.advisor.columns import table_facts  # which needs pglast
    from perfkit.indexing.advisor.existing import names_of

    try:
        with bounded(connections[alias], without_end):
            facts = table_facts(connections[alias], {row.table for row in asked})
    except OperationalError as error:
        if not has_given_up(error):
            raise
        return None
    return {
        row.key: names[0]
        for row in asked
        if row.table in facts
        and (names := names_of(row.statement, row.table, facts[row.table].types, facts[row.table].indexes))
    }


def _measure(using: str, rows: Iterable[IndexAdvice], report: Report, captured: Captured) -> None:
    """Note how long shapes take since what was advised was applied, from the first whole hour on."""
    known: dict[dt.datetime, dict[str, float]] = {}
    for row in rows:
        if row.state != AdviceState.APPLIED or not row.before or row.applied_at is None:
            continue
        # What is captured is added up by hours, and in the first one the index was not there.
        begin = row.applied_at.replace(minute=0, second=0, microsecond=0) + HOUR
        if begin > report.made_at:
            continue
        if begin not in known:
            shapes = captured(report.alias, begin).shapes
            known[begin] = {shape.fingerprint: shape.mean_seconds for shape in shapes}
        after = {shape: known[begin][shape] for shape in row.before if shape in known[begin]}
        if after:
            IndexAdvice.objects.using(using).filter(pk=row.pk).update(outcome=after)


def _index_names(alias: str) -> set[str]:
    connection = connections[alias]
    sql = (
        "SELECT i.relname FROM pg_class i JOIN pg_index x ON x.indexrelid = i.oid WHERE x.indisvalid"
        if connection.vendor == "postgresql"
        else "SELECT name FROM sqlite_master WHERE type = 'index'"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return {name for (name,) in rows}
