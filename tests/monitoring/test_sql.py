from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.monitoring.sql import normalised


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
    assert text.endswith("…")


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
