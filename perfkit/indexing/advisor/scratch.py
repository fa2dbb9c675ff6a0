"""A schema of the advisor's own, for copies of tables; gone at the end, or at the next run where it was killed.

# Note [Whose scratch schema it is]
A schema belongs to the session that holds an advisory lock on its oid, taken before the schema can be seen.
The lock ends with the session, however that ends, so a schema whose lock is to be had is a leftover.
Its comment tells people the same: which session made it, and since when.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from perfkit.indexing.advisor.sessions import Session

PREFIX: Final = "perfkit_scratch_"
COMMENT: Final = "Copies of the index advisor of django-perfkit; its next run drops them if they are left."
LOCK_CLASS: Final = 0x70666B78
"""Of the advisory locks; no meaning beyond being rare."""

LEFT_SQL: Final = """
SELECT nspname::text, oid::int4 FROM pg_namespace
WHERE starts_with(nspname::text, %s) AND starts_with(obj_description(oid, 'pg_namespace'), %s)
  AND pg_has_role(nspowner, 'USAGE')
ORDER BY nspname
"""


def refusal(session: Session) -> str:
    """Return why no scratch schema can be made, and what to do; empty where it can.

    Queries: 3.
    """
    if session.is_pooled:
        return "a pooler stands before the database: connect to it directly"
    database, role, may_create = session.run(
        "SELECT current_database()::text, current_user::text, "
        "has_database_privilege(current_database(), 'CREATE')"
    )[0]
    if session.value("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool"):
        return "the database takes no writes: name its primary"
    if not may_create:
        grant = f"GRANT CREATE ON DATABASE {session.quote(database)} TO {session.quote(role)};"
        return f"the role may not make a schema for copies; a superuser or the database's owner runs: {grant}"
    return ""


@contextmanager
def scratch_schema(session: Session) -> Iterator[str]:
    """Make a schema that this session alone uses, and drop it with all in it; leftovers go first.

    Raises:
        Error: The role may not make one: see `refusal`.
    """
    drop_left(session)
    name = f"{PREFIX}{secrets.token_hex(6)}"
    with session.transaction(keep=True):
        session.run(f"CREATE SCHEMA {name}")
        oid = session.value("SELECT oid::int4 FROM pg_namespace WHERE nspname = %s", [name])
        session.run(f"SELECT pg_advisory_lock({LOCK_CLASS}, {oid})")
        whose = session.value(
            "SELECT format('session %%s of %%s, since %%s', pid, usename, backend_start) "
            "FROM pg_stat_activity WHERE pid = pg_backend_pid()",
            [],
        )
        text = session.value("SELECT quote_literal(%s)", [f"{COMMENT} Made by {whose}."])
        session.run(f"COMMENT ON SCHEMA {name} IS {text}")
    try:
        yield name
    finally:
        if not session.wrapper.connection.closed:
            session.run("SET statement_timeout = 0")
            _drop(session, name)
            session.run(f"SELECT pg_advisory_unlock({LOCK_CLASS}, {oid})")


def drop_left(session: Session) -> list[str]:
    """Drop the schemas whose sessions are gone, and return their names."""
    dropped = []
    for name, oid in session.run(LEFT_SQL, [PREFIX, COMMENT]):
        if session.value(f"SELECT pg_try_advisory_lock({LOCK_CLASS}, {oid})"):
            try:
                _drop(session, name)
                dropped.append(name)
            finally:
                session.run(f"SELECT pg_advisory_unlock({LOCK_CLASS}, {oid})")
    return dropped


def _drop(session: Session, name: str) -> None:
    """Drop a schema, table by table: each drop locks all that goes with it, and locks are counted."""
    tables = session.run(
        "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace(%s)",
        [session.quote(name)],
    )
    for (table,) in tables:
        session.run(f"DROP TABLE IF EXISTS {session.quote(name)}.{session.quote(table)} CASCADE")
    session.run(f"DROP SCHEMA IF EXISTS {session.quote(name)} CASCADE")
