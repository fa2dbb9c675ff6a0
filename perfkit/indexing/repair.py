"""Repairs a database in which builds that failed have left invalid indexes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from django.apps import apps
from django.db import DatabaseError, connections, router
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from perfkit.errors import PerfkitError
from perfkit.indexing.foreign_keys import parts_of
from perfkit.indexing.partitions import complete
from perfkit.indexing.steps import Patience
from perfkit.indexing.waiting import Attempt, patiently
from perfkit.postgres.invalid_indexes import InvalidIndex, invalid_indexes

LEFTOVER: Final = re.compile(r"_cc(new|old)\d*$")
"""How REINDEX CONCURRENTLY calls what it builds, and what it drops."""


class Repair(Enum):
    """What is done about an invalid index; the value says so."""

    DROP = "drop"
    REBUILD = "rebuild"
    COMPLETE = "build on the partitions that lack it"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one.

    Attributes:
        problem: Why it is as it was; empty where it is repaired.
    """

    index: InvalidIndex
    repair: Repair
    problem: str = ""


def repair_of(index: InvalidIndex, declared: Collection[str]) -> Repair:
    """Return what is to be done about an index. Pure.

    What no model declares is dropped: no query uses it, writes pay for it,
    and its definition alone does not say whether somebody wants it.

    Args:
        declared: The names of indexes that models declare.
    """
    if index.busy_pid:
        return Repair.LEAVE
    if index.is_partitioned:
        return Repair.LEAVE if index.is_attached else Repair.COMPLETE
    if index.is_attached or index.has_constraint:
        return Repair.REBUILD  # it cannot be dropped alone
    if LEFTOVER.search(index.name) or not index.is_live or index.name not in declared:
        return Repair.DROP
    return Repair.REBUILD


def found(using: str) -> list[tuple[InvalidIndex, Repair]]:
    """Return the invalid indexes of a PostgreSQL database, with what is to be done about each.

    Queries: 1, and some about collations.
    """
    connection = connections[using]
    indexes = invalid_indexes(connection)
    if not indexes:
        return []
    declared = declared_names(using)
    repairs = [(index, repair_of(index, declared)) for index in indexes]
    return sorted(repairs, key=lambda each: each[1] is Repair.COMPLETE)  # what is in their way first


def repaired(using: str, patience: Patience) -> Iterator[Outcome]:
    """Repair the indexes one after the other, and yield what became of each.

    One that somebody works on is left alone. It may be killed at any moment, and run again.
    """
    with connections[using].schema_editor(atomic=False) as editor:
        for index, repair in found(using):
            if repair is Repair.LEAVE:
                why = f"the server's process {index.busy_pid} works on it" if index.busy_pid else ""
                yield Outcome(index, repair, why)
                continue
            try:
                _repair(editor, index, repair, patience)
            except (DatabaseError, PerfkitError) as error:
                _drop_own_leftovers(editor, index, patience)
                yield Outcome(index, repair, str(error).strip().partition("\n")[0])
            else:
                yield Outcome(index, repair)


def declared_names(using: str) -> set[str]:
    """Return the names of the indexes that models declare whose tables are in a database."""
    names = set()
    with connections[using].schema_editor(collect_sql=True, atomic=False) as editor:
        for model in apps.get_models(include_auto_created=True):
            options = model._meta
            if not options.managed or options.proxy or not router.allow_migrate_model(using, model):
                continue
            names |= {index.name for index in options.indexes}
            names |= {constraint.name for constraint in options.constraints}
            for column in options.local_concrete_fields:
                parts = parts_of(editor, model, column)
                names |= parts.indexes.keys() | ({parts.unique.name} if parts.unique else set())
    return names


def _repair(
    editor: BaseDatabaseSchemaEditor, index: InvalidIndex, repair: Repair, patience: Patience
) -> None:
    if repair is Repair.COMPLETE:
        complete(editor, index.db_table, index.name, patience)
        return
    statement = {
        Repair.DROP: f"DROP INDEX CONCURRENTLY IF EXISTS {index.path}",
        Repair.REBUILD: f"REINDEX INDEX CONCURRENTLY {index.path}",
    }[repair]

    def attempt_it(attempt: Attempt) -> int | None:
        now = next((each for each in invalid_indexes(attempt.connection) if each.oid == index.oid), None)
        if now is None:
            return None  # repaired by somebody else meanwhile
        if now.busy_pid:
            return now.busy_pid
        attempt.concurrently(statement)
        return None

    patiently(editor, index.name, patience, attempt_it)


def _drop_own_leftovers(editor: BaseDatabaseSchemaEditor, index: InvalidIndex, patience: Patience) -> None:
    """Drop what a rebuild that failed has left beside the index."""
    for each in invalid_indexes(editor.connection):
        is_own = each.table == index.table and LEFTOVER.sub("", each.name) == index.name != each.name
        if is_own and not each.busy_pid:
            _repair(editor, each, Repair.DROP, patience)
