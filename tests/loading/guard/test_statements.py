from __future__ import annotations

import pytest

from perfkit.loading.guard import statements
from perfkit.loading.guard.statements import statement


def is_a_loop(first: tuple[str, object], second: tuple[str, object]) -> bool:
    """Say whether two executions are of one statement, for different rows."""
    known, again = statement(first[0]), statement(second[0])
    if known is None or again is None or known.text != again.text:
        return False
    return known.values(first[1]) != again.values(second[1])


GET = 'SELECT "t"."id" FROM "t" WHERE "t"."id" = %s LIMIT 21'
TOP = 'SELECT "t"."id" FROM "t" WHERE "t"."a" = %s ORDER BY "t"."id" LIMIT 5'
INSERT = 'INSERT INTO "t" ("a", "b") VALUES (%s, %s) RETURNING "t"."id"'
UPDATE = 'UPDATE "t" SET "a" = %s WHERE "t"."id" = %s'
UPDATE_FROM = 'UPDATE "t" SET "a" = (SELECT x FROM u WHERE u.y = %s) WHERE "t"."id" = %s'
NAMED = "SELECT a FROM t WHERE id = %(key)s AND b = %(other)s"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((GET, (1,)), (GET, (2,))),
        ((TOP, (1,)), (TOP, (2,))),
        ((GET, ({"a": 1},)), (GET, ({"a": 2},))),
        ((INSERT, (1, 2)), (INSERT, (1, 3))),
        ((UPDATE, (1, 1)), (UPDATE, (1, 2))),
        ((UPDATE_FROM, (1, 1)), (UPDATE_FROM, (1, 2))),
        ((NAMED, {"key": 1, "other": 2}), (NAMED, {"key": 2, "other": 2})),
        (("SELECT a FROM t WHERE id = 1", None), ("SELECT a FROM t WHERE id = 2", None)),
        (("SELECT a FROM t WHERE name = 'x'", None), ("SELECT a FROM t WHERE name = 'y'", None)),
        (("-- why\nselect a FROM t WHERE id = %s", (1,)), ("-- why\nselect a FROM t WHERE id = %s", (2,))),
        (("WITH x AS (SELECT %s) SELECT * FROM x", (1,)), ("WITH x AS (SELECT %s) SELECT * FROM x", (2,))),
        (
            ("SELECT a FROM t WHERE b = %s AND c IN (%s, %s)", (1, 5, 6)),
            ("SELECT a FROM t WHERE b = %s AND c IN (%s, %s)", (2, 5, 6)),
        ),
        (("SELECT a FROM t WHERE b = $$x$$", ()), ("SELECT a FROM t WHERE b = $$y$$", ())),
        (("SELECT a FROM t WHERE b = E'it\\'s x'", ()), ("SELECT a FROM t WHERE b = E'it\\'s y'", ())),
        (("SELECT a FROM t WHERE b > %s", (1,)), ("SELECT a FROM t WHERE b > %s", (2,))),
        (
            ("SELECT a FROM t WHERE c IN (1, 2) AND name = 'x'", ()),
            ("SELECT a FROM t WHERE c IN (1, 2) AND name = 'y'", ()),
        ),
        (
            ("SELECT a FROM t WHERE b > %s ORDER BY b LIMIT 1", (1,)),
            ("SELECT a FROM t WHERE b > %s ORDER BY b LIMIT 1", (2,)),
        ),
    ],
)
def test_other_rows_make_a_loop(first: tuple[str, object], second: tuple[str, object]) -> None:
    assert is_a_loop(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((GET, (1,)), (GET, (1,))),
        ((GET, (1,)), (TOP, (2,))),
        ((UPDATE, (1, 1)), (UPDATE, (2, 1))),
        ((UPDATE_FROM, (1, 1)), (UPDATE_FROM, (2, 1))),
        (("UPDATE t SET a = %s", (1,)), ("UPDATE t SET a = %s", (2,))),
        (("SELECT a FROM t WHERE c IN (%s, %s)", (1, 2)), ("SELECT a FROM t WHERE c IN (%s, %s)", (3, 4))),
        (("SELECT a FROM t WHERE c IN (1, 2)", ()), ("SELECT a FROM t WHERE c IN (3, 4)", ())),
        (("SELECT a FROM t WHERE c IN ('x', 'y')", ()), ("SELECT a FROM t WHERE c IN ('z', 'y')", ())),
        (("SELECT a FROM t WHERE c = ANY(%s)", ([1],)), ("SELECT a FROM t WHERE c = ANY(%s)", ([2],))),
        (("SELECT a FROM t LIMIT 10 OFFSET 10", ()), ("SELECT a FROM t LIMIT 10 OFFSET 20", ())),
        (("SELECT a FROM t LIMIT %s OFFSET %s", (9, 0)), ("SELECT a FROM t LIMIT %s OFFSET %s", (9, 9))),
        (
            ("SELECT a FROM t WHERE b > %s ORDER BY b LIMIT 9", (1,)),
            ("SELECT a FROM t WHERE b > %s ORDER BY b LIMIT 9", (2,)),
        ),
        (("INSERT INTO t (a) VALUES (%s), (%s)", (1, 2)), ("INSERT INTO t (a) VALUES (%s), (%s)", (3, 4))),
        (
            ("SELECT a FROM t WHERE b BETWEEN %s AND %s", (1, 2)),
            ("SELECT a FROM t WHERE b BETWEEN %s AND %s", (3, 4)),
        ),
        (
            ('UPDATE t SET a = 1 WHERE ("t"."b" >= %s AND "t"."b" < %s)', (1, 2)),
            ('UPDATE t SET a = 1 WHERE ("t"."b" >= %s AND "t"."b" < %s)', (3, 4)),
        ),
        (("SAVEPOINT a1", None), ("SAVEPOINT a2", None)),
        (("SET statement_timeout = 1", None), ("SET statement_timeout = 2", None)),
        (("INSERT INTO perfkit_outbox VALUES (%s)", (1,)), ("INSERT INTO perfkit_outbox VALUES (%s)", (2,))),
        (("", None), ("", None)),
    ],
)
def test_these_make_none(first: tuple[str, object], second: tuple[str, object]) -> None:
    assert not is_a_loop(first, second)


def test_a_percent_sign_and_a_quoted_placeholder_are_no_parameters() -> None:
    known = statement("SELECT '%%s', \"%%s\" FROM t WHERE a LIKE 'x%%' AND b = %s")
    assert known is not None
    assert known.counted == (0,)


def test_too_few_parameters_are_the_drivers_to_refuse() -> None:
    known = statement(GET)
    assert known is not None
    assert known.values(()) == known.values(None)


def test_many_comments_take_no_time() -> None:
    assert statement("/* a */ " * 2000 + ";") is None


def test_what_is_long_or_holds_texts_is_not_kept_in_memory() -> None:
    before = statements._kept.cache_info().currsize
    for number in range(5):
        assert statement(f"SELECT a FROM t WHERE b = 'secret {number}'") is not None
        assert (
            statement(f"SELECT a FROM t WHERE b = {number} AND c IN ({', '.join(['%s'] * 2000)})") is not None
        )
    assert statements._kept.cache_info().currsize == before
    assert statement(f"SELECT a FROM t WHERE c IN ({', '.join(['%s'] * 20_000)})") is None
