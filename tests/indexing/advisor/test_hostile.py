"""Statements whose values, names and types somebody else has chosen: nothing in them is ever run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import ProgrammingError, connection

from perfkit.indexing.advisor.advising import advise
from perfkit.indexing.advisor.cases import Advice
from perfkit.indexing.advisor.sessions import session_of
from perfkit.workload import QueryShape, Workload
from tests.indexing.advisor.shop import shape

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("shop", "canary")]

EVIL = "text))); DROP TABLE canary; --"
ORDERS = 'SELECT "shop_order"."id" FROM "shop_order" WHERE '
LOCAL = "(made AT TIME ZONE 'UTC')"
WITHIN = LOCAL.replace("'", "''")


def sql(*statements: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        for each in statements:
            cursor.execute(each)
        return list(cursor.fetchall()) if cursor.description else []


@pytest.fixture
def canary(shop: None) -> Iterator[None]:
    """Have a table that hostile statements drop, and a type with a name that ends a statement."""
    sql("CREATE TABLE canary (id int)", f'CREATE DOMAIN "{EVIL}" AS text')
    try:
        yield
    finally:
        sql("DROP TABLE IF EXISTS canary", f'DROP DOMAIN IF EXISTS "{EVIL}"')


def advised(*statements: str) -> Advice:
    advice = advise(Workload("default", tuple(shape(each) for each in statements)))
    assert sql(
        "SELECT to_regclass('canary')::text, count(*) FROM pg_namespace WHERE nspname LIKE 'perfkit_s%'"
    ) == [("canary", 0)]
    return advice


CONDITIONS = (
    f"EXTRACT('year FROM {WITHIN}))); DROP TABLE canary; --' FROM {LOCAL}) = 2024",
    f"date_part('year'', {WITHIN}))); DROP TABLE canary; --', {LOCAL}) = 2024",
    f"date_trunc('day'', {WITHIN}))); DROP TABLE canary; --', {LOCAL}) = '2024-01-05'",
    f"(details -> 'channel'::\"{EVIL}\") = '\"c7\"'",
    f"(details ->> 'channel'::\"{EVIL}\") = 'c7'",
    "(details ->> 'x''))); DROP TABLE canary; --') = 'c7'",
    "status = 'x''))); DROP TABLE canary; --'",
    r"status = E'x\'))); DROP TABLE canary; --'",
    r"status = 'x\''); DROP TABLE canary; --'",
    r"status = U&'x\0027); DROP TABLE canary; --'",
    "status = $a$x'); DROP TABLE canary; --$a$",
    "status IN ('x''); DROP TABLE canary; --', 'failed')",
    "coalesce(note, 'x''))); DROP TABLE canary; --') = 'note of 9'",
    "note LIKE 'x''))); DROP TABLE canary; --%'",
    f"status = 'failed'::\"{EVIL}\"",
    "status = '\N{RIGHT SINGLE QUOTATION MARK}); DROP TABLE canary; --'",
    "status = 'x' /* ; DROP TABLE canary; */ -- ; DROP TABLE canary;\n",
)


def test_what_a_statement_holds_is_only_compared() -> None:
    advice = advised(*(ORDERS + condition for condition in CONDITIONS))
    assert [each.fingerprint for each in advice.skipped] == []
    assert advice.findings


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (f"{ORDERS}status = 'x'; DROP TABLE canary", "it is not one statement"),
        (f"{ORDERS}status = 'x\0'; DROP TABLE canary", "it is too long, or holds a zero byte"),
        (f"{ORDERS}status = '\ud800'; DROP TABLE canary", "PostgreSQL's parser does not take it"),
        ("DROP TABLE canary", "it is no SELECT, INSERT, UPDATE or DELETE"),
        ("WITH gone AS (DELETE FROM canary RETURNING id) SELECT * FROM gone", "a part of it writes"),
    ],
)
def test_what_does_more_than_read_is_refused(statement: str, reason: str) -> None:
    advice = advised(statement)
    assert [each.reason for each in advice.skipped] == [reason]


def test_values_that_are_drawn_from_rows_are_quoted() -> None:
    sql(
        r"UPDATE shop_order SET note = 'x\''); DROP TABLE canary; --' WHERE id % 2 = 0",
        "UPDATE shop_order SET note = '$1 $2 %s ' || chr(92) || chr(39) WHERE id % 2 = 1",
    )
    drawn = QueryShape(f'{ORDERS}"shop_order"."note" = ? AND "shop_order"."status" = ?', 10, 1.0)
    advice = advise(Workload("default", (drawn,)))
    assert advice.skipped == ()
    assert sql("SELECT count(*) FROM canary") == [(0,)]


def test_a_session_takes_one_statement_and_means_by_a_backslash_what_the_parser_does() -> None:
    with session_of("default", lambda: 60.0) as session:
        session.is_pooled = True  # then nothing can be set for the session
        session.run("SET standard_conforming_strings = off")
        session.run("SET escape_string_warning = off")
        assert session.value(r"SELECT 'a\\b'") == r"a\b"
        with session.transaction():
            assert session.value(r"SELECT 'a\\b'") == r"a\\b"
        for each in ("SELECT 1; DROP TABLE canary", "EXPLAIN SELECT 1; DROP TABLE canary"):
            with pytest.raises(ProgrammingError, match="multiple commands"):
                session.run(each)
    assert sql("SELECT count(*) FROM canary") == [(0,)]
