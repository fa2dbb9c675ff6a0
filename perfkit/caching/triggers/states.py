"""What triggers a database has, and how they differ from those that it should have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from perfkit.caching.triggers.functions import PREFIX, function_body, function_name, template
from perfkit.caching.triggers.targets import Relation, Target, own_oids_of, targets_of
from perfkit.errors import TriggersUnsupportedError
from perfkit.models import PendingInvalidation


class Shape(NamedTuple):
    """What one of the triggers on a table must be like.

    Args:
        events: As CREATE TRIGGER has them.
        what: What it is for, as people are told.
        type: `pg_trigger.tgtype`: a bit for each event, and 1 where it is called for each row.
        fires: `pg_trigger.tgenabled`.
    """

    events: str
    what: str
    type: int
    old_table: str = ""
    new_table: str = ""
    fires: str = "A"


EVENTS: Final[Mapping[str, Shape]] = {
    "insert": Shape("INSERT", "INSERT", 4, new_table="new_rows"),
    "update": Shape("UPDATE", "UPDATE", 16, old_table="old_rows", new_table="new_rows"),
    "delete": Shape("DELETE", "DELETE", 8, old_table="old_rows"),
    "truncate": Shape("TRUNCATE", "TRUNCATE", 32),
}
"""The triggers of every table."""
REPLICATED: Final[Mapping[str, Shape]] = {
    "row": Shape("INSERT OR UPDATE OR DELETE", "replicated rows", 4 + 16 + 8 + 1, fires="R"),
}
"""Those that the table of a subscription has besides, for replication fires no others."""

FIRES: Final[Mapping[str, str]] = {
    "A": "fires always",
    "D": "is disabled",
    "O": "is silent under session_replication_role = replica",
    "R": "fires under session_replication_role = replica only",
}
SEARCH_PATH: Final = ["search_path=pg_catalog, pg_temp"]

OUTBOX_SQL: Final = """
SELECT n.nspname::text, c.relname::text, has_table_privilege(c.oid, 'INSERT'), current_database()::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass(%s)
"""
WAITING_SQL: Final = "SELECT count(*), min(created_at) FROM {}"


class Installed(NamedTuple):
    """One trigger of perfkit's that a database has, with its function.

    Args:
        fires: `pg_trigger.tgenabled`.
        is_narrowed: Whether it fires for some columns or rows only.
        is_open: Whether everybody may make triggers that call the function.
        may_insert: Whether the function's owner may insert into the outbox; None where there is none.
    """

    relation: int
    name: str
    fires: str
    type: int
    old_table: str
    new_table: str
    is_narrowed: bool
    function: int
    function_schema: str
    function_name: str
    body: str
    is_definers: bool
    settings: list[str]
    is_open: bool
    may_insert: bool | None


class Outbox(NamedTuple):
    """Where notices go in one database."""

    schema: str
    name: str
    may_insert: bool
    database: str


@dataclass(frozen=True, slots=True)
class TableState:
    """What is known of the triggers of one table and its partitions, or of a model that can have none.

    Args:
        table: Schema and name, or the label of the model.
        has_triggers: Whether it has any.
        problems: How they differ from what they should be; empty where outside writes are told.
    """

    table: str
    has_triggers: bool
    problems: tuple[str, ...]

    @property
    def is_installed(self) -> bool:
        """Whether every outside write to it is told."""
        return not self.problems


class Waiting(NamedTuple):
    """What waits in the outbox for a reader to look.

    Args:
        oldest: When the first of them was put, None where there is none.
    """

    rows: int
    oldest: datetime | None


def outbox_of(connection: BaseDatabaseWrapper) -> Outbox | None:
    """Return the outbox of a database, None where migrations have not made it."""
    with connection.cursor() as cursor:
        cursor.execute(OUTBOX_SQL, [connection.ops.quote_name(PendingInvalidation._meta.db_table)])
        row = cursor.fetchone()
    return None if row is None else Outbox(*row)


def waiting_in(connection: BaseDatabaseWrapper) -> Waiting:
    """Return how much waits in the outbox."""
    table = connection.ops.quote_name(PendingInvalidation._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(WAITING_SQL.format(table))
        return Waiting(*cursor.fetchone())


def installed_in(connection: BaseDatabaseWrapper) -> dict[int, list[Installed]]:
    """Return all triggers of perfkit's, by the relations that have them."""
    found: dict[int, list[Installed]] = {}
    with connection.cursor() as cursor:
        outbox = connection.ops.quote_name(PendingInvalidation._meta.db_table)
        cursor.execute(template("installed"), [outbox, PREFIX, PREFIX])
        rows: list[Any] = cursor.fetchall()
    for row in rows:
        trigger = Installed(*row)
        found.setdefault(trigger.relation, []).append(trigger)
    return found


def states_of(connection: BaseDatabaseWrapper, models: Iterable[type[Model]]) -> list[TableState]:
    """Return the state of each table that holds rows of `models`."""
    outbox = outbox_of(connection)
    installed = installed_in(connection)
    states: dict[str, TableState] = {}
    for model in models:
        try:
            targets = targets_of(connection, [model])
        except TriggersUnsupportedError as error:
            label = model._meta.label
            has_triggers = not own_oids_of(connection, model).isdisjoint(installed)
            states[label] = TableState(label, has_triggers, (error.problem,))
            continue
        for target in targets:
            name = str(target.relation)
            states[name] = TableState(
                name,
                any(each.oid in installed for each in target.relations),
                tuple(problems_of(target, installed, outbox)),
            )
    return [states[name] for name in sorted(states)]


def problems_of(target: Target, installed: Mapping[int, list[Installed]], outbox: Outbox | None) -> list[str]:
    """Return how the triggers of a table and its partitions differ from those that it should have."""
    if outbox is None:
        return ["the outbox is missing: run `manage.py migrate`"]
    body = function_body(target.tells, outbox=(outbox.schema, outbox.name))
    name = function_name(target.relation.schema, target.relation.name)
    problems: list[str] = []
    for relation in target.relations:
        where = "" if relation is target.relation else f"partition {relation.name}: "
        found = installed.get(relation.oid, [])
        if not found:
            problems.append(f"{where}no triggers")
            continue
        problems += [f"{where}{problem}" for problem in _differences(found, shapes_of(relation))]
        functions = {each.function: each for each in found}.values()
        if any(not _is_right(each, outbox.schema, name, body) for each in functions):
            problems.append(
                f"{where}the function is not the one for this table and this version of perfkit: install again"
            )
    return problems


def trigger_name(event: str) -> str:
    """Return what the trigger for an event is called on every table."""
    return f"{PREFIX}{event}"


def shapes_of(relation: Relation) -> Mapping[str, Shape]:
    """Return what triggers a relation must have, by their short names."""
    return {**EVENTS, **REPLICATED} if relation.is_subscribed else EVENTS


def _differences(found: list[Installed], shapes: Mapping[str, Shape]) -> Iterable[str]:
    by_name = {each.name: each for each in found}
    for name, shape in shapes.items():
        trigger = by_name.pop(trigger_name(name), None)
        if trigger is None:
            yield f"no trigger for {shape.what}"
        elif trigger.fires != shape.fires:
            yield f"the trigger for {shape.what} {FIRES[trigger.fires]}"
        elif trigger.is_narrowed or trigger[3:6] != shape[2:5]:
            yield f"the trigger for {shape.what} is not perfkit's own"
    for name in by_name:
        yield f"the trigger {name} is one too many"


def _is_right(found: Installed, schema: str, name: str, body: str) -> bool:
    return (
        (found.function_schema, found.function_name) == (schema, name)
        and found.body == body
        and found.is_definers
        and found.settings == SEARCH_PATH
        and not found.is_open
        and bool(found.may_insert)
    )
