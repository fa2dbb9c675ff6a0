"""What is read of statements without their values, and of texts that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.indexing.advisor.parsing import numbered, parse
from perfkit.indexing.advisor.reading import TOO_DEEP, UNREADABLE, WITHOUT_ROWS, read_statement
from perfkit.watching.sql import fingerprint
from tests.indexing.advisor.statements import TYPES


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a = %s AND b = %(name)s", "a = $1 AND b = $2"),
        ("a = ? AND b IN (…)", "a = $1 AND b IN ($2, $3)"),
        ("VALUES (…), …", "VALUES ($1, $2)"),
        ('"a" ? ? AND "b" ?| ?', '"a" ? $1 AND "b" ?| $2'),
        ("(a -> ?) ? ? LIMIT ?", "(a -> $1) ? $2 LIMIT $3"),
        ("a LIKE '%%s?' AND b = ?", "a LIKE '%%s?' AND b = $1"),
        ("a %% 2 = %s -- why?", "a % 2 = $1  "),
        ("a BETWEEN ? AND ?", "a BETWEEN $1 AND $2"),
        ("x::text = ?::jsonb", "x::text = $1::jsonb"),
    ],
)
def test_it_numbers_placeholders(text: str, wanted: str) -> None:
    assert numbered(text).rstrip() == wanted.rstrip()


def test_it_reads_the_operators_of_sqlite() -> None:
    assert numbered("a REGEXP ? AND b GLOB :name", is_sqlite=True) == "a ~ $1 AND b ~~ $2"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM voyage WHERE labels ? 'a' AND ref LIKE 'b%' AND height IN (1, 2) LIMIT 5",
        "SELECT id FROM voyage WHERE (made AT TIME ZONE 'UTC')::date = '2024-01-01'::date OFFSET 3",
        "UPDATE voyage SET height = 3 WHERE captain_id = 4 AND NOT (status IN ('a', 'b'))",
        "INSERT INTO voyage (id, ref) VALUES (1, 'a'), (2, 'b')",
        "SELECT COUNT(*) FROM (SELECT id FROM voyage WHERE labels @> '{}'::jsonb) AS it",
    ],
)
def test_a_fingerprint_is_read_as_the_statement_itself(sql: str) -> None:
    assert parse(fingerprint(sql)) is not None
    whole, bare = read_statement(sql, TYPES), read_statement(fingerprint(sql), TYPES)
    assert [scan.table for scan in whole.scans] == [scan.table for scan in bare.scans]
    assert [scan.columns for scan in whole.scans] == [scan.columns for scan in bare.scans]


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELEC 1", UNREADABLE),
        ("SELECT '\udcff'", UNREADABLE),
        ("SELECT 1 \0", UNREADABLE),
        ("SELECT … FROM", UNREADABLE),
        ("SELECT " + "(" * 50_000, UNREADABLE),
        ("", WITHOUT_ROWS),
        ("-- nothing", WITHOUT_ROWS),
        ("COPY voyage FROM STDIN", WITHOUT_ROWS),
        ("DO $$ BEGIN DELETE FROM voyage WHERE height = 5; END $$", WITHOUT_ROWS),
        ("CREATE INDEX x ON voyage (height)", WITHOUT_ROWS),
        ("SET work_mem = '1GB'", WITHOUT_ROWS),
        ("SELECT 1; COPY voyage TO STDOUT", WITHOUT_ROWS),
        ("SELECT 1 FROM voyage WHERE " + "NOT (" * 900 + "is_paid" + ")" * 900, ""),
    ],
)
def test_it_says_why_a_text_is_not_read(sql: str, reason: str) -> None:
    assert read_statement(sql, TYPES).unread == reason


def test_one_that_is_too_deep_is_not_read() -> None:
    deep = "SELECT 1 FROM voyage WHERE height = " + "abs(" * 3000 + "height" + ")" * 3000
    assert read_statement(deep, TYPES).unread in {TOO_DEEP, UNREADABLE}


@given(st.text(max_size=80))
def test_no_text_raises(text: str) -> None:
    for sql in (text, f"SELECT id FROM voyage WHERE {text}", f"SELECT {text} FROM voyage"):
        for is_sqlite in (False, True):
            reading = read_statement(sql, TYPES, is_sqlite=is_sqlite)
            assert not (reading.unread and reading.scans)


def test_nothing_that_is_shown_has_a_value_in_it() -> None:
    sql = (
        "SELECT id FROM voyage WHERE status = 'secret1' AND (height IN (4711, 4712) OR ref = 'secret2') "
        "AND NOT (title = 'secret3') AND ref LIKE 'secret4%'"
    )
    shown = repr(read_statement(sql, TYPES))
    assert "status" in shown
    assert "secret" not in shown
    assert "471" not in shown
