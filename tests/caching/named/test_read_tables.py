"""Which tables a statement reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Count, Exists, OuterRef, QuerySet

from perfkit.caching.bypass import Bypass
from perfkit.caching.databases import tag_scope
from perfkit.caching.named.read_tables import forget_catalogue, tags_read
from perfkit.caching.reach import reach_of
from tests.testapp.models import Bundle, Dotted, Item, Shelf, Volume

pytestmark = pytest.mark.django_db(transaction=True)


def read(sql: str) -> set[str]:
    tags = tags_read(connection, sql, tag_scope(connection))
    assert all(tag.startswith(f"a:{tag_scope(connection)}:") for tag in tags)
    return {tag.split(":", 2)[2] for tag in tags}


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT 1", set()),
        ('SELECT "testapp_item"."name" FROM "testapp_item"', {"testapp_item"}),
        ("select * from TestApp_Item", {"testapp_item"}),
        ("SELECT * FROM testapp_item, testapp_shelf s", {"testapp_item", "testapp_shelf"}),
        (
            "SELECT * FROM testapp_volume v LEFT JOIN testapp_shelf USING (id)",
            {"testapp_volume", "testapp_shelf"},
        ),
        ("SELECT (SELECT count(*) FROM testapp_item) AS n", {"testapp_item"}),
        ("WITH x AS (SELECT * FROM testapp_item) SELECT * FROM x", {"testapp_item"}),
        ("SELECT 'from testapp_item', $$testapp_shelf$$ -- testapp_volume\n", set()),
        ("/* testapp_item */ SELECT E'it\\'s testapp_shelf'", set()),
        ("EXPLAIN SELECT * FROM testapp_item", {"testapp_item"}),
        ("TABLE testapp_item", {"testapp_item"}),
        ("SELECT 1 WHERE EXISTS (SELECT FROM ONLY testapp_item)", {"testapp_item"}),
        ("SAVEPOINT testapp", set()),
    ],
)
def test_it_finds_the_tables(sql: str, tables: set[str]) -> None:
    assert read(sql) == tables


@pytest.mark.parametrize(
    "rows",
    [
        Item.plain.all,
        lambda: Item.plain.filter(bundles__title="x"),
        lambda: Bundle.plain.annotate(n=Count("items")),
        lambda: Volume.plain.select_related("shelf"),
        lambda: Shelf.plain.filter(Exists(Volume.plain.filter(shelf=OuterRef("pk")))),
        lambda: Shelf.plain.values("name").union(Item.plain.values("name")),
    ],
)
def test_it_finds_those_of_querysets(rows: Callable[[], QuerySet[Any]]) -> None:
    query = rows().query
    sql, _ = query.sql_with_params()
    assert read(sql) == reach_of(query).tables


def test_it_knows_a_table_with_a_dot_in_its_name() -> None:
    sql, _ = Dotted.plain.all().query.sql_with_params()
    with pytest.raises(Bypass):
        read(sql + " UNION SELECT id, username FROM auth_user")


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("INSERT INTO testapp_item DEFAULT VALUES", "it writes"),
        ("UPDATE testapp_item SET name = 'x' RETURNING name", "it writes"),
        ("WITH x AS (DELETE FROM testapp_item RETURNING *) SELECT * FROM x", "it writes"),
        ("SELECT * FROM auth_user", "does not watch what is written to auth_user"),
        ("SELECT * FROM testapp_item JOIN auth_group ON true", "auth_group"),
        ("SELECT relname FROM pg_class", "system catalogue"),
        ("SELECT * FROM information_schema.tables", "system catalogue"),
        ('SELECT * FROM U&"testapp\\005fitem"', "names in another form"),
        ("SELECT * FROM 'testapp_item'", "names in another form"),
        ("PRAGMA table_info(testapp_item)", "names in another form"),
    ],
)
def test_it_refuses_what_it_cannot_tell(sql: str, reason: str) -> None:
    with pytest.raises(Bypass, match=reason):
        read(sql)


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT secret_names()", "function of the database's own"),
        ('SELECT "secret_names" ()', "function of the database's own"),
        (
            "SELECT query_to_xml('SELECT * FROM testapp_item', true, true, '')",
            "function of the database's own",
        ),
        ("EXECUTE prepared", "it writes"),
    ],
)
def test_it_refuses_functions_that_may_read(sql: str, reason: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION secret_names() RETURNS SETOF text LANGUAGE sql STABLE "
            "AS 'SELECT name FROM testapp_item'"
        )
        cursor.execute(
            "CREATE OR REPLACE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * n'"
        )
    try:
        assert read("SELECT twice(2), lower(name) FROM testapp_item") == {"testapp_item"}
        with pytest.raises(Bypass, match=reason):
            read(sql)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION secret_names(), twice(int)")


def test_it_sees_a_table_that_was_made_since() -> None:
    read("SELECT * FROM testapp_item")
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE made_since (id int)")
    try:
        with pytest.raises(Bypass, match="made_since"):
            read("SELECT * FROM made_since")
        forget_catalogue()
        with pytest.raises(Bypass, match="made_since"):
            read('SELECT * FROM testapp_item, "made_since"')
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE made_since")


def test_it_sees_a_table_that_another_connection_has_made(monkeypatch: pytest.MonkeyPatch) -> None:
    read("SELECT * FROM testapp_item")
    connection.ensure_connection()
    connection.connection.execute("CREATE TABLE made_elsewhere (id int)")
    monkeypatch.setattr("perfkit.caching.named.read_tables.KNOWN_SECONDS", 0.0)  # the time is over
    try:
        for sql in ("SELECT * FROM made_elsewhere WHERE 1 = 1", "SELECT * FROM testapp_item, made_elsewhere"):
            with pytest.raises(Bypass, match="made_elsewhere"):
                read(sql)
    finally:
        connection.connection.execute("DROP TABLE made_elsewhere")


def test_a_user_is_no_part_of_another_name() -> None:
    sql, _ = User.objects.all().query.sql_with_params()
    with pytest.raises(Bypass, match="auth_user:"):
        read(sql)
