"""What is made of captured statements, before any is asked about."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.indexing.advisor.drawing import Place, UndrawableShapeError, drawn_statements
from perfkit.indexing.advisor.samples import (
    DELETE,
    INSERT,
    SELECT,
    UPDATE,
    UnreadableSampleError,
    as_read,
    read_sample,
)


@pytest.mark.parametrize(
    ("sql", "kind", "tables", "target"),
    [
        ("SELECT 1 FROM a JOIN b ON a.id = b.a", SELECT, ("a", "b"), ""),
        ("SELECT * FROM a WHERE id IN (SELECT a FROM c)", SELECT, ("a", "c"), ""),
        ("WITH x AS (SELECT * FROM a) SELECT * FROM x", SELECT, ("a",), ""),
        ("UPDATE a SET n = 1 FROM b WHERE a.id = b.a", UPDATE, ("a", "b"), "a"),
        ("DELETE FROM a WHERE n = 'x'", DELETE, ("a",), "a"),
        ("INSERT INTO a (n) VALUES (1), (2), (3)", INSERT, ("a",), "a"),
        ('SELECT 1 FROM "Odd ""name"""', SELECT, ('Odd "name"',), ""),
    ],
)
def test_it_says_what_a_statement_is(sql: str, kind: str, tables: tuple[str, ...], target: str) -> None:
    sample = read_sample(sql)
    assert (sample.kind, sample.tables, sample.target, sample.sql) == (kind, tables, target, sql)


def test_it_counts_what_an_insert_writes_and_names_what_an_update_sets() -> None:
    assert read_sample("INSERT INTO a (n) VALUES (1), (2), (3)").rows == 3
    assert read_sample('UPDATE a SET n = 1, "M" = 2').set_columns == {"n", "M"}


@pytest.mark.parametrize(
    ("sql", "plain"),
    [
        ("SELECT 'é' FROM public.a WHERE n = 'public.a'", "SELECT 'é' FROM a WHERE n = 'public.a'"),
        ('SELECT 1 FROM "public" . "a" x, public.b', 'SELECT 1 FROM "a" x, b'),
        ('UPDATE "public"."a" SET n = 1', 'UPDATE "a" SET n = 1'),
    ],
)
def test_it_leaves_out_the_schemas_of_tables(sql: str, plain: str) -> None:
    sample = read_sample(sql)
    assert sample.sql == plain
    assert sample.schemas == {"public"}


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "SELECT",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE a",
        "DROP TABLE a",
        "CREATE TABLE a AS SELECT 1",
        "DO $$ BEGIN END $$",
        "COPY a TO PROGRAM 'x'",
        "EXPLAIN ANALYZE DELETE FROM a",
        "CALL x()",
        "WITH x AS (UPDATE a SET n = 1 RETURNING 1) SELECT * FROM x",
        "WITH x AS (INSERT INTO a VALUES (1) RETURNING 1) UPDATE b SET n = 1",
        "SELECT * INTO b FROM a",
        "SELECT public.a.id FROM public.a",
        "SELECT 1 FROM x.public.a",
        "SELECT '\x00'",
        "SELECT '\udc80'",
        "not a statement",
        "SELECT " + "1," * 150_000 + "1",
    ],
)
def test_it_refuses_what_cannot_be_explained(sql: str) -> None:
    if sql == "SELECT":
        assert read_sample(sql).tables == ()
        return
    with pytest.raises(UnreadableSampleError):
        read_sample(sql)


@given(st.text())
def test_it_never_fails_otherwise(sql: str) -> None:
    with suppress(UnreadableSampleError):
        read_sample(sql)


@pytest.mark.parametrize("sql", ["SELECT 'secret' FROM", "DROP TABLE secret", "SELECT secret; SELECT 1"])
def test_its_reasons_have_no_values(sql: str) -> None:
    with pytest.raises(UnreadableSampleError) as caught:
        read_sample(sql)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "read"),
    [
        ("SELECT id FROM a WHERE n = 1", "SELECT id FROM a WHERE n = 1"),
        ("UPDATE a SET m = 2 WHERE a.n = 1", "SELECT 1 FROM a WHERE a.n = 1"),
        ("DELETE FROM a AS x WHERE x.n = 1", "SELECT 1 FROM a AS x WHERE x.n = 1"),
        ("SELECT id FROM a WHERE n = 1 FOR UPDATE SKIP LOCKED", "SELECT id FROM a WHERE n = 1"),
        ("UPDATE a SET m = 2 FROM b WHERE a.n = b.n", None),
        ("DELETE FROM a USING b WHERE a.n = b.n", None),
        ("INSERT INTO a VALUES (1)", None),
    ],
)
def test_a_read_finds_the_rows_of_a_write(sql: str, read: str | None) -> None:
    found = as_read(read_sample(sql))
    assert (found and found.sql) == read
    assert found is None or not found.has_locks


def drawn(fingerprint: str) -> tuple[tuple[str, ...], list[Place]]:
    asked: list[Place] = []

    def draw(place: Place, number: int) -> str:
        asked.append(place)
        return f"'{place.way}{number}'"

    return drawn_statements(fingerprint, draw), asked


@pytest.mark.parametrize(
    ("fingerprint", "first"),
    [
        ('SELECT * FROM a WHERE a."n" = %s', "SELECT * FROM a WHERE a.\"n\" = '=0'"),
        ("SELECT * FROM a WHERE n = ?", "SELECT * FROM a WHERE n = '=0'"),
        ("SELECT * FROM a WHERE n = $1", "SELECT * FROM a WHERE n = '=0'"),
        ("SELECT * FROM a WHERE n IN (…)", "SELECT * FROM a WHERE n IN ('=0', '=0')"),
        ("SELECT * FROM a WHERE n = ANY(?)", "SELECT * FROM a WHERE n = ANY('any0')"),
        ("SELECT * FROM a WHERE n > ? LIMIT ?", "SELECT * FROM a WHERE n > '<0' LIMIT 'limit0'"),
        ("SELECT * FROM a WHERE n BETWEEN ? AND ?", "SELECT * FROM a WHERE n BETWEEN 'low0' AND 'high0'"),
        ("SELECT ? AS x FROM a WHERE n LIKE ?", "SELECT 'one0' AS x FROM a WHERE n LIKE 'like0'"),
        ("UPDATE a SET m = ? WHERE n = ?", "UPDATE a SET m = '=0' WHERE n = '=0'"),
        (
            "SELECT * FROM a x JOIN b y ON y.id = x.b WHERE UPPER(y.n) = UPPER(?)",
            "SELECT * FROM a x JOIN b y ON y.id = x.b WHERE UPPER(y.n) = UPPER('=0')",
        ),
    ],
)
def test_it_fills_a_shape_with_values(fingerprint: str, first: str) -> None:
    statements, _ = drawn(fingerprint)
    assert statements[0] == first
    assert len(statements) == 2


def test_it_asks_for_the_values_of_the_right_table() -> None:
    _, asked = drawn("SELECT * FROM a x JOIN b y ON y.id = x.b WHERE UPPER(y.n) = UPPER(?)")
    assert {(place.table, place.alias, place.expression) for place in asked} == {("b", "y", "upper(y.n)")}


@pytest.mark.parametrize(
    "fingerprint",
    ["SELECT ? FROM a WHERE ? = ?", "SELECT * FROM a, b WHERE n = ?", "SELECT … FROM", "DROP ?"],
)
def test_it_says_where_no_value_can_be_found(fingerprint: str) -> None:
    with pytest.raises(UndrawableShapeError):
        drawn(fingerprint)
