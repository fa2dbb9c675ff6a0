"""Puts triggers onto tables and takes them away, one table at a time, each in a short transaction of its own.

Whatever interrupts that leaves some tables done and the others as they were; it can be run again.
CREATE TRIGGER waits for the writers that are under way, and keeps new ones waiting; readers go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from psycopg.sql import SQL, Composable, Identifier, Literal

from perfkit.caching.databases import tag_scope
from perfkit.caching.tags import table_tag, with_any_write
from perfkit.caching.triggers.functions import PREFIX, function_body, function_name
from perfkit.caching.triggers.states import (
    Installed,
    Outbox,
    installed_in,
    outbox_of,
    problems_of,
    shapes_of,
    trigger_name,
)
from perfkit.caching.triggers.targets import Relation, Target, oids_of, targets_of
from perfkit.caching.writes import tracker_of
from perfkit.errors import TriggerRightsError, TriggersLockedError, TriggersUnsupportedError
from perfkit.models import PendingInvalidation
from perfkit.postgres.session import sqlstate

LOCK_TIMEOUT_SECONDS: Final = 2.0
NOT_GRANTED: Final = "42501"
LOCKED: Final = ("55P03", "40P01")
"""SQLSTATE of a lock that was not to be had in time, and of a deadlock."""

ONE_AT_A_TIME_SQL: Final = "SELECT pg_advisory_xact_lock(hashtextextended('perfkit_triggers', 0))"
NAMES_SQL: Final = """
SELECT c.oid::bigint, n.nspname::text, c.relname::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY (%s::oid[])
"""
UNUSED_SQL: Final = """
SELECT n.nspname::text, p.proname::text
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE starts_with(p.proname, %s) AND p.prorettype = 'trigger'::regtype AND pg_has_role(p.proowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgfoid = p.oid)
"""


class Change(NamedTuple):
    """What was done to one table: `"installed"`, `"unchanged"` or `"removed"`."""

    table: str
    what: str


def install(
    connection: BaseDatabaseWrapper,
    models: Iterable[type[Model]],
    *,
    lock_timeout_seconds: float = LOCK_TIMEOUT_SECONDS,
) -> Iterator[Change]:
    """Put triggers onto all tables that hold rows of `models`, and yield what was done to each, when it is done.

    A table whose triggers are as they should be is not touched.
    What was cached of a table before is void when its triggers are there.

    Raises:
        TriggersUnsupportedError: No triggers can tell of such writes; raised before anything is changed.
        TriggerRightsError: The role lacks a right on a table, or on the outbox.
        TriggersLockedError: Others held a lock on a table for too long; the tables before it are done.
    """
    outbox = _usable_outbox(connection)
    for target in targets_of(connection, models):
        installed = installed_in(connection)
        is_right = not problems_of(target, installed, outbox)
        for relation in target.relations:
            # Of one that is not, each part is locked: whoever writes it now calls the former function.
            if is_right:
                yield Change(str(relation), "unchanged")
                continue
            with _one_table(connection, str(relation), lock_timeout_seconds) as cursor:
                with connection.wrap_database_errors:
                    # Past Django's cursor: the path that it gives to the function is none of this session's.
                    cursor.cursor.execute(_function_sql(target, outbox))
                for statement in _install_sql(target, relation, outbox, installed.get(relation.oid, ())):
                    cursor.execute(statement.as_string(None))
                _drop_unused(cursor)
                _void(connection, target)
            yield Change(str(relation), "installed")


def remove(
    connection: BaseDatabaseWrapper,
    models: Iterable[type[Model]] | None,
    *,
    lock_timeout_seconds: float = LOCK_TIMEOUT_SECONDS,
) -> Iterator[Change]:
    """Take all triggers away from tables that hold rows of `models`, and yield the names of these tables.

    A table of which another model's rows depend too loses them as well.

    Args:
        models: None for every trigger of perfkit's that the database has.

    Raises:
        TriggerRightsError: The role does not own a table.
        TriggersLockedError: Others held a lock on a table for too long; the tables before it are done.
    """
    installed = installed_in(connection)
    wanted = (
        set(installed) if models is None else _with_their_functions(oids_of(connection, models), installed)
    )
    with connection.cursor() as cursor:
        cursor.execute(NAMES_SQL, [sorted(wanted)])
        names: list[Any] = cursor.fetchall()
    for oid, schema, name in sorted(names, key=lambda row: row[1:]):
        with _one_table(connection, f"{schema}.{name}", lock_timeout_seconds) as cursor:
            for trigger in installed[oid]:
                dropped = SQL("DROP TRIGGER IF EXISTS {} ON {}").format(
                    Identifier(trigger.name), Identifier(schema, name)
                )
                cursor.execute(dropped.as_string(None))
            _drop_unused(cursor)
        yield Change(f"{schema}.{name}", "removed")
    if models is None:
        with _one_table(connection, "The database", lock_timeout_seconds) as cursor:
            _drop_unused(cursor)


def _with_their_functions(oids: set[int], installed: dict[int, list[Installed]]) -> set[int]:
    """Return the relations that have triggers, and those whose triggers call the same functions.

    A partition that was detached is one of these.
    """
    functions = {each.function for oid in oids for each in installed.get(oid, ())}
    return {oid for oid, found in installed.items() if any(each.function in functions for each in found)}


def _usable_outbox(connection: BaseDatabaseWrapper) -> Outbox:
    outbox = outbox_of(connection)
    alias, name = connection.alias, str(connection.settings_dict["NAME"])
    if outbox is None:
        table = PendingInvalidation._meta.db_table
        problem = f"has no table {table}: run `manage.py migrate --database {alias}` first."
        raise TriggersUnsupportedError(f"The database {alias!r}", problem)
    if outbox.database != name:
        problem = (
            f"calls itself {outbox.database!r}, and readers know it as {name!r}, so its triggers would tell "
            "nobody. Give its own name as NAME."
        )
        raise TriggersUnsupportedError(f"The database {alias!r}", problem)
    if not outbox.may_insert:
        raise TriggerRightsError(
            f"{outbox.schema}.{outbox.name}",
            "the role may not insert into it, and the triggers do so for everybody",
        )
    return outbox


@contextmanager
def _one_table(connection: BaseDatabaseWrapper, table: str, lock_timeout_seconds: float) -> Iterator[Any]:
    """Run the block in a transaction, which may be the caller's, and wait for no lock longer than that."""
    milliseconds = max(1, round(lock_timeout_seconds * 1000))
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            [former] = cursor.fetchone()
            cursor.execute(f"SET LOCAL lock_timeout = '{milliseconds}ms'")
            cursor.execute(ONE_AT_A_TIME_SQL)
            yield cursor
            cursor.execute(f"SET LOCAL lock_timeout = '{former}'")
    except Error as error:
        said = str(error).partition("\n")[0]
        if sqlstate(error) == NOT_GRANTED:
            raise TriggerRightsError(table, said) from error
        if sqlstate(error) in LOCKED:
            raise TriggersLockedError(table, lock_timeout_seconds, said) from error
        raise


def _function_sql(target: Target, outbox: Outbox) -> Composable:
    return SQL(
        "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
        "SET search_path = pg_catalog, pg_temp AS {}"
    ).format(
        _function(target, outbox), Literal(function_body(target.tells, outbox=(outbox.schema, outbox.name)))
    )


def _function(target: Target, outbox: Outbox) -> Identifier:
    return Identifier(outbox.schema, function_name(target.relation.schema, target.relation.name))


def _install_sql(
    target: Target, relation: Relation, outbox: Outbox, found: Iterable[Installed]
) -> Iterator[Composable]:
    function = _function(target, outbox)
    # It may have been another's; it runs with the rights of its owner.
    yield SQL("ALTER FUNCTION {}() OWNER TO CURRENT_USER").format(function)
    yield SQL("REVOKE ALL ON FUNCTION {}() FROM PUBLIC").format(function)
    table = Identifier(relation.schema, relation.name)
    shapes = shapes_of(relation)
    for name in {each.name for each in found} - set(map(trigger_name, shapes)):
        yield SQL("DROP TRIGGER IF EXISTS {} ON {}").format(Identifier(name), table)
    enabled = []
    for name, shape in shapes.items():
        trigger = Identifier(trigger_name(name))
        tables = [
            SQL("{} TABLE AS {}").format(SQL(age), Identifier(transition))
            for age, transition in (("OLD", shape.old_table), ("NEW", shape.new_table))
            if transition
        ]
        yield SQL("CREATE OR REPLACE TRIGGER {} AFTER {} ON {} {} FOR EACH {} EXECUTE FUNCTION {}()").format(
            trigger,
            _sql(shape.events),
            table,
            SQL("REFERENCING {}").format(SQL(" ").join(tables)) if tables else SQL(""),
            SQL("ROW") if shape.type & 1 else SQL("STATEMENT"),
            function,
        )
        how = SQL("ALWAYS") if shape.fires == "A" else SQL("REPLICA")
        enabled.append(SQL("ENABLE {} TRIGGER {}").format(how, trigger))
    yield SQL("ALTER TABLE ONLY {} {}").format(table, SQL(", ").join(enabled))


def _sql(text: Any) -> SQL:
    """Return text as SQL; all of it is ours."""
    return SQL(text)


def _drop_unused(cursor: Any) -> None:
    """Drop functions of perfkit's that no trigger calls any more: their tables are gone, or were renamed."""
    cursor.execute(UNUSED_SQL, [PREFIX])
    for schema, name in cursor.fetchall():
        cursor.execute(SQL("DROP FUNCTION {}()").format(Identifier(schema, name)).as_string(None))


def _void(connection: BaseDatabaseWrapper, target: Target) -> None:
    """Have what was cached of a table voided when its triggers are there: others may have written it before."""
    tracker = tracker_of(connection)
    if tracker is not None:
        names = {target.tells.table} if target.tells.is_read else set()
        names |= target.tells.changes | target.tells.cascades
        tables = [table_tag(tag_scope(connection), name) for name in names]
        tracker.wrote(frozenset(with_any_write(tables)))
