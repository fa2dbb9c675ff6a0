"""What PostgreSQL has counted of statements: the extension pg_stat_statements."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import DatabaseError, transaction

EXTENSION: Final = "pg_stat_statements"
MOST_STATEMENTS: Final = 5_000

PRELOAD: Final = (
    "add pg_stat_statements to shared_preload_libraries in postgresql.conf (or as a superuser: ALTER SYSTEM SET "
    "shared_preload_libraries = 'pg_stat_statements', with what is there already), and restart the server"
)
CREATE: Final = "as a superuser, in this database: CREATE EXTENSION pg_stat_statements"
RIGHTS: Final = "as a superuser: GRANT pg_read_all_stats TO the role of the project"
UPDATE: Final = "as a superuser, in this database: ALTER EXTENSION pg_stat_statements UPDATE"


@dataclass(frozen=True, slots=True)
class CountedStatement:
    """Statements that differ only in their values, as the server has counted them.

    Attributes:
        text: With `$1` and so on for the values.
        rows: That it has returned or changed, over all calls.
    """

    text: str
    calls: int
    total_seconds: float
    rows: int


@dataclass(frozen=True, slots=True)
class StatementStatistics:
    """What the server has counted of this role's statements in this database.

    Attributes:
        problem: Why there are none, and what to do; empty where they could be read.
        since: From when on it has counted, None where it does not say.
    """

    statements: tuple[CountedStatement, ...] = field(default=(), repr=False)
    problem: str = ""
    since: dt.datetime | None = None


def statement_statistics(connection: Any, *, most: int = MOST_STATEMENTS) -> StatementStatistics:
    """Return what pg_stat_statements has of the connection's role in its database, the costliest first.

    No superuser is needed: a role may read what itself has sent.

    Args:
        most: Statements that are read.

    Queries:
        Three, in a transaction or a savepoint; two where the extension is not there, none on other databases.

    Source:
        PostgreSQL manual, "pg_stat_statements"; the columns are there from PostgreSQL 14 to 18.
    """
    if connection.vendor != "postgresql":
        return StatementStatistics(problem="Only PostgreSQL counts statements.")
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            return _read(cursor, most)
    except DatabaseError as error:
        return StatementStatistics(problem=_problem(error))


def _read(cursor: Any, most: int) -> StatementStatistics:
    cursor.execute(
        "SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
        "WHERE e.extname = %s",
        [EXTENSION],
    )
    found = cursor.fetchone()
    if found is None:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = %s)", [EXTENSION])
        if cursor.fetchone()[0]:
            problem = f"The extension pg_stat_statements is not created: {PRELOAD}; then, {CREATE}."
        else:
            problem = (
                "The extension pg_stat_statements is not installed on the server: install the package of "
                f"PostgreSQL's contributed modules (postgresql-contrib); then {PRELOAD}; then, {CREATE}."
            )
        return StatementStatistics(problem=problem)
    cursor.execute(
        "SELECT query, sum(calls)::bigint, sum(total_exec_time) / 1000, sum(rows)::bigint "  # noqa: S608
        f"FROM {found[0]}.pg_stat_statements "
        "WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        "AND userid = (SELECT oid FROM pg_roles WHERE rolname = current_user) AND query IS NOT NULL "
        "GROUP BY query ORDER BY 3 DESC LIMIT %s",
        [most],
    )
    rows = cursor.fetchall()
    cursor.execute(f"SELECT stats_reset FROM {found[0]}.pg_stat_statements_info")  # noqa: S608  # a quoted name
    since = cursor.fetchone()[0]
    return StatementStatistics(
        tuple(CountedStatement(text, calls, float(seconds), count) for text, calls, seconds, count in rows),
        since=since,
    )


def _problem(error: DatabaseError) -> str:
    said = str(error).partition("\n")[0]
    state = getattr(error.__cause__, "sqlstate", None) or getattr(error.__cause__, "pgcode", None)
    advice = {"55000": PRELOAD, "42501": RIGHTS, "42703": UPDATE, "42P01": UPDATE}.get(str(state))
    told = f"pg_stat_statements cannot be read: {said}"
    return f"{told}; {advice}." if advice else f"{told}."
