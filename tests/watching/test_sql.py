from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.watching.sql import normalised


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", "SELECT ?"),
        ("SELECT  a,\n\tb FROM t", "SELECT a, b FROM t"),
        ("SELECT * FROM t1 WHERE c2 = 34", "SELECT * FROM t1 WHERE c2 = ?"),
        ("SELECT 1.5, .5, 1e-5, 0xFF, -7, 1_000", "SELECT ?, ?, ?, ?, -?, ?"),
        ("WHERE a = 'secret' AND b = 'it''s secret'", "WHERE a = ? AND b = ?"),
        (r"WHERE a = E'it\'s secret' AND b = 2", "WHERE a = ? AND b = ?"),
        (r"WHERE a = 'C:\' AND b = 'secret'", "WHERE a = ? AND b = ?"),
        ("SELECT $$it's secret$$, $tag$a $$ secret$tag$, x", "SELECT ?, ?, x"),
        ("SELECT 'secret", "SELECT ?"),
        ("SELECT $$secret", "SELECT ?"),
        ("SELECT E'secret\\'", "SELECT ?"),
        ('SELECT "t1"."name 2" FROM "t1"', 'SELECT "t1"."name 2" FROM "t1"'),
        ("SELECT `t1`.`a` FROM `t1`", "SELECT `t1`.`a` FROM `t1`"),
        ("SELECT a -- secret\nFROM t", "SELECT a FROM t"),
        ("SELECT /* secret /* nested */ secret */ a", "SELECT a"),
        ("SELECT a /* secret", "SELECT a"),
        ("SELECT %s, %(name)s, $1, ?, :name", "SELECT %s, %(name)s, $1, ?, :name"),
        ("SELECT a::date, b::varchar(10)", "SELECT a::date, b::varchar(?)"),
        ("WHERE id IN (%s, %s, %s)", "WHERE id IN (…)"),
        ("INSERT INTO t (a, b) VALUES (%s, %s), (%s, %s), (%s, %s)", "INSERT INTO t (a, b) VALUES (…), …"),
        ("WHERE a LIKE 'x%' AND x'ff' = b", "WHERE a LIKE ? AND x? = b"),
    ],
)  # fmt: skip
def test_it_leaves_names_and_placeholders_and_no_values(sql: str, expected: str) -> None:
    assert normalised(sql) == expected


def test_it_cuts_a_long_statement() -> None:
    text = normalised("SELECT " + ", ".join(f"column{index}" for index in range(5000)), most=100)
    assert len(text) == 100
    assert text.startswith("SELECT column0, column1")
    assert "…" in text


COLUMNS = ", ".join(f'"t"."column from {index}"' for index in range(50))


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (f"SELECT {COLUMNS} FROM t WHERE a = 1 ORDER BY b", "SELECT … FROM t WHERE a = ? ORDER BY b"),
        (f"SELECT DISTINCT {COLUMNS} FROM t", "SELECT … FROM t"),
        (f"SELECT {COLUMNS}, (SELECT a FROM u), EXTRACT(day FROM b) FROM t", "SELECT … FROM t"),
        (f"SELECT a IS DISTINCT FROM b, {COLUMNS} FROM t", "SELECT … FROM t"),
        (f"SELECT {COLUMNS} FROM (SELECT {COLUMNS} FROM t) x", "SELECT … FROM (SELECT … FROM t) x"),
        (f"SELECT {COLUMNS} FROM t WHERE a = (SELECT 1) LIMIT 2", "SELECT … FROM t WHERE a = (SELECT ?) LIMIT ?"),
    ],
)  # fmt: skip
def test_it_keeps_where_a_long_statement_reads_from(sql: str, expected: str) -> None:
    assert normalised(sql) == expected


def test_it_keeps_the_end_of_a_statement_that_is_long_elsewhere() -> None:
    sql = f"SELECT a FROM t JOIN {COLUMNS} ORDER BY b LIMIT %s"
    text = normalised(sql, most=200)
    assert len(text) == 200
    assert text.startswith("SELECT … FROM t JOIN ")
    assert text.endswith(" ORDER BY b LIMIT %s")


def test_a_literal_that_is_cut_in_two_is_still_a_literal() -> None:
    assert normalised("SELECT '" + "secret" * 10_000 + "'") == "SELECT ?"


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@given(
    st.lists(st.sampled_from(["SECRET", "'", '"', "$$", "--", "/*", "*/", "\\", "%s", " ", "\n"])).map(
        "".join
    )
)
def test_no_text_in_a_literal_shows(text: str) -> None:
    sql = f"SELECT a FROM t WHERE b = {quoted('SECRET' + text)} AND c = {quoted(text)} ORDER BY d"
    assert normalised(sql) == "SELECT a FROM t WHERE b = ? AND c = ? ORDER BY d"


@given(st.text())
def test_it_takes_any_text(sql: str) -> None:
    assert "\n" not in normalised(sql)


NAMES = {"shop_order", "id", "name", "first name"}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ('SELECT "id" FROM "shop_order" WHERE "name" = "x y"', 'SELECT "id" FROM "shop_order" WHERE "name" = ?'),
        ('SELECT "ID", "First Name" FROM t', 'SELECT "ID", "First Name" FROM t'),
        ('SELECT * FROM t WHERE a IN ("secret", "it""s secret", %s)', "SELECT * FROM t WHERE a IN (…)"),
        ('SELECT T3."amount" FROM "legacy" T3 JOIN "other" ON T3."x" = "other"."y"', None),
        ('SELECT COUNT(*) AS "number" FROM t GROUP BY a ORDER BY "number"', None),
        ('INSERT INTO "legacy" ("a", "b") VALUES ("secret", %s)', 'INSERT INTO "legacy" ("a", "b") VALUES (…)'),
        ('UPDATE "legacy" SET "a" = "secret" WHERE "id" = 1', 'UPDATE "legacy" SET "a" = ? WHERE "id" = ?'),
        ('WITH "one" ("n") AS (SELECT ?), "two" AS (SELECT ?) SELECT * FROM "one", "two"', None),
        ('SELECT a FROM t ORDER BY a COLLATE "own"', None),
        ("SELECT a FROM t WHERE b = 'a \"b\"' AND c = \"secret", "SELECT a FROM t WHERE b = ? AND c = ?"),
        ('SELECT a /* "x */ FROM t WHERE "name" = "secret"', 'SELECT a FROM t WHERE "name" = ?'),
        ('CREATE TABLE "new__legacy" ("a" integer NOT NULL)', None),
        ('SAVEPOINT "s1_x1"', None),
        ('PRAGMA table_info("legacy")', None),
    ],
)  # fmt: skip
def test_where_double_quotes_may_hold_a_text_only_names_are_kept(sql: str, expected: str | None) -> None:
    assert normalised(sql, names=NAMES) == (sql if expected is None else expected)


def test_elsewhere_what_is_quoted_is_a_name() -> None:
    assert normalised('SELECT a FROM t WHERE b = "c"') == 'SELECT a FROM t WHERE b = "c"'


@given(st.text(alphabet="\"' abcSELECT=(),.-/*", max_size=40))
def test_no_text_makes_it_fail_or_keep_what_it_would_not_keep_else(text: str) -> None:
    known = normalised(f"SELECT {text}", names=())
    assert known.count('"') <= normalised(f"SELECT {text}").count('"')


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT tags[1:98765] FROM t", "SELECT tags[?:?] FROM t"),
        ("SELECT x::text, :name FROM t", "SELECT x::text, :name FROM t"),
        ('SELECT "a\x1b[31mb" FROM t', 'SELECT "a�[31mb" FROM t'),
        ("SELECT 1 \x07 FROM t", "SELECT ? � FROM t"),
    ],
)
def test_slices_are_values_and_what_a_terminal_obeys_is_not_shown(sql: str, expected: str) -> None:
    assert normalised(sql) == expected
