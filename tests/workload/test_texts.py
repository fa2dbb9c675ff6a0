from __future__ import annotations

import doctest

import pytest

from perfkit.management import workload_text
from perfkit.watching import fingerprint
from perfkit.workload import exclusions, replay, texts
from perfkit.workload.exclusions import has_excluded
from perfkit.workload.replay import is_one_read
from perfkit.workload.texts import common_form, is_counted, locks_rows, tables_of, verb_of


@pytest.mark.parametrize("module", [texts, exclusions, replay, workload_text], ids=lambda each: each.__name__)
def test_examples_are_right(module: object) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ('SELECT "a" FROM "t" WHERE "b" = %s', 'SELECT "a" FROM "t" WHERE "b" = $1'),
        ('SELECT "a" FROM "t" WHERE "b" = %s LIMIT 21', 'SELECT "a" FROM "t" WHERE "b" = $1 LIMIT $2'),
        ("SELECT 1 AS a FROM t WHERE b = %s", "SELECT $1 AS a FROM t WHERE b = $2"),
        ("SELECT a FROM t WHERE b IN (%s, %s, %s)", "SELECT a FROM t WHERE b IN ($1, $2, $3)"),
        ("SELECT a FROM t WHERE b IN (%s, %s, %s)", "SELECT a FROM t WHERE b IN ($1 /*, ... */)"),
        ("SELECT a FROM t WHERE b IN (%s)", "SELECT a FROM t WHERE b IN ($1)"),
        ("SELECT a FROM t WHERE b >= %s", "SELECT a FROM t WHERE b >= $1::timestamptz"),
        ("SELECT a FROM t WHERE b @> %s", "SELECT a FROM t WHERE b @> $1::jsonb"),
        ("SELECT a FROM t WHERE b = ANY(%s)", "SELECT a FROM t WHERE b = ANY($1::int4[])"),
        ("SELECT a FROM t WHERE UPPER(b) LIKE UPPER(%s)", "SELECT a FROM t WHERE UPPER(b) LIKE UPPER( $1)"),
        ("SELECT a FROM t WHERE b = -1", "SELECT a FROM t WHERE b = $1"),
        ("UPDATE t SET a = %s, b = NULL WHERE c", "UPDATE t SET a = $1, b = $2 WHERE c"),
        ("SELECT a FROM t WHERE b IS NULL AND c = true", "SELECT a FROM t WHERE b IS NULL AND c = $1"),
        ("INSERT INTO t (a, b) VALUES (%s, %s), (%s, %s)", "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4)"),
        ("SELECT a %% %s FROM t", "SELECT a % $1 FROM t"),
        ("SELECT a FROM t /* request 1 */", "SELECT a FROM t;"),
        ('SELECT "a %s?" FROM t', 'SELECT "a %s?" FROM t'),
    ],
)
def test_what_django_sends_has_one_form_with_what_the_server_keeps(sent: str, kept: str) -> None:
    assert common_form(fingerprint(sent)) == common_form(fingerprint(kept))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT a FROM t WHERE b = %s", "SELECT a FROM t WHERE c = $1"),
        ("SELECT a FROM t WHERE b IS NULL", "SELECT a FROM t WHERE b = $1"),
        ("SELECT a FROM t WHERE b = %s", "SELECT a FROM t WHERE b = $1 LIMIT $2"),
        ('SELECT "a%s" FROM t', 'SELECT "a$1" FROM t'),
    ],
)
def test_what_differs_in_more_has_not(one: str, other: str) -> None:
    assert common_form(fingerprint(one)) != common_form(fingerprint(other))


@pytest.mark.parametrize(
    ("text", "verb"),
    [
        ("SELECT 1", "SELECT"),
        ("(SELECT 1) UNION (SELECT 2)", "SELECT"),
        ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", "INSERT"),
        ("WITH x AS (UPDATE t SET a = 1 RETURNING *) SELECT * FROM x", "UPDATE"),
        ("SELECT 1 FROM t FOR NO KEY UPDATE", "SELECT"),
        ('SELECT "update" FROM "delete"', "SELECT"),
        ("DELETE FROM t", "DELETE"),
    ],
)
def test_the_verb_is_what_a_statement_does_at_most(text: str, verb: str) -> None:
    assert verb_of(text) == verb


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ('SELECT "a"."b" FROM "a"', ("a",)),
        ('SELECT 1 FROM "a" LEFT OUTER JOIN "b" ON (true) JOIN c x ON true', ("a", "b", "c")),
        ('UPDATE "a" SET "b" = %s', ("a",)),
        ('DELETE FROM ONLY public."a""b"', ('a"b',)),
        ("INSERT INTO a (b) SELECT 1 FROM c", ("a", "c")),
        ("SELECT 1 FROM generate_series(1, 2)", ()),
    ],
)
def test_tables_are_those_that_are_read_or_written(text: str, tables: tuple[str, ...]) -> None:
    assert tables_of(text) == tables


@pytest.mark.parametrize(
    "text",
    [
        "VACUUM",
        "SAVEPOINT x",
        "SELECT * FROM pg_catalog.pg_class",
        "SELECT pid FROM pg_stat_activity",
        "EXPLAIN SELECT 1",
    ],
)
def test_what_belongs_to_no_workload_is_not_counted(text: str) -> None:
    assert not is_counted(text)


@pytest.mark.parametrize(
    ("text", "pattern", "is_excluded"),
    [
        ('SELECT "id" FROM "auth_user"', "auth_*", True),
        ("SELECT id FROM AUTH_USER", "auth_user", True),
        ('SELECT "id" FROM "auth_user"', "user", False),
        ('SELECT "API_Key" FROM "t"', "*api_key*", True),
        ('SELECT "id" FROM "t"', "", False),
        ("SELECT `secret` FROM t", "secret", True),
    ],
)
def test_names_exclude_in_whatever_case(text: str, pattern: str, is_excluded: bool) -> None:
    assert has_excluded(text, [pattern] if pattern else []) is is_excluded


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1; DELETE FROM t",
        "SELECT 1;COMMIT;DROP TABLE t",
        "SELECT 1 FROM t FOR SHARE",
        "SELECT 1 FROM t FOR UPDATE SKIP LOCKED",
        "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
        "COPY t TO PROGRAM 'x'",
        "SELECT '" + "x" * 30_000 + "'",
        "BEGIN",
        "",
    ],
)
def test_what_may_do_more_than_read_is_not_one_read(sql: str) -> None:
    assert not is_one_read(sql)


def test_an_offer_of_locks_is_seen() -> None:
    assert locks_rows("SELECT 1 FOR KEY SHARE")
    assert not locks_rows('SELECT "for update" FROM t')
